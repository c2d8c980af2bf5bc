"""What a backend's timings are made into: ops, weights read, shares, and a table."""

from __future__ import annotations

import pytest

from forge.backend import BackendError, Executable, Graph, Op, Timing
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.profile import KernelTime, RunProfile, shares, table
from forge.testing import write_tiny
from forge.worker.profiling import kernel_times, rounds


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """Two layers of experts, with a gate and one shared by all tokens."""
    path = tmp_path_factory.mktemp("profile") / "moe.gguf"
    with open_gguf(write_tiny(path, "qwen2moe")) as file:
        return build_graph(file, context=64)


def each_node(graph: Graph, seconds: float = 1e-6) -> list[Timing]:
    """A backend that has a kernel for each node."""
    return [Timing(node.name, f"kernel of {node.op}", seconds) for node in graph.nodes]


def bytes_of(graph: Graph, op: Op) -> int:
    """Of the matrices of all nodes of an op."""
    read = [name for node in graph.nodes if node.op is op for name in node.inputs]
    specs = [graph.weights[name] for name in read if name in graph.weights]
    return sum(spec.bytes for spec in specs if len(spec.shape) > 1)


def test_a_kernel_has_its_nodes_op_and_the_bytes_of_its_matrix(graph: Graph) -> None:
    found = kernel_times(graph, 1, [each_node(graph)])
    assert [(each.name, each.op) for each in found] == [(n.name, str(n.op)) for n in graph.nodes]
    products = sum(each.weight_bytes for each in found if each.op == "matmul")
    assert products == bytes_of(graph, Op.MATMUL) > 0
    others = [each for each in found if each.op not in ("matmul", "experts")]
    assert not any(each.weight_bytes or each.multiply_adds for each in others)


def test_nodes_without_a_timing_count_with_whoever_reads_them(graph: Graph) -> None:
    made = {node.name: node for node in graph.nodes}
    (norm,) = [n for n in graph.nodes if n.name == "blk.0.attn_norm"]
    products = [n for n in graph.nodes if norm.name in n.inputs and n.op is Op.MATMUL]
    left_out = {norm.name, *(n.name for n in products)}
    readers = [n for n in graph.nodes if set(n.inputs) & {p.name for p in products}]
    timings = [timing for timing in each_node(graph) if timing.name not in left_out]
    found = {each.name: each for each in kernel_times(graph, 1, [timings])}
    assert len(products) == 3
    for reader in readers:
        behind = next(name for name in reader.inputs if name in {p.name for p in products})
        matrix = graph.weights[next(n for n in made[behind].inputs if n in graph.weights)]
        assert found[reader.name].op == f"rms_norm+matmul+{reader.op}"
        assert found[reader.name].weight_bytes == matrix.bytes
        assert found[reader.name].multiply_adds == matrix.elements


def test_a_token_reads_its_own_experts_and_many_tokens_all_of_them(graph: Graph) -> None:
    (node, *_) = [n for n in graph.nodes if n.op is Op.EXPERTS and "shared" not in n.name]
    specs = [graph.weights[n] for n in node.inputs if n in graph.weights]
    matrices = [spec for spec in specs if len(spec.shape) == 3]
    every, used = matrices[0].shape[0], int(str(node.attrs["used"]))
    assert used < every
    whole = sum(spec.bytes for spec in matrices)
    timings = [each_node(graph)]

    def bytes_read(tokens: int) -> int:
        kernels = kernel_times(graph, tokens, timings)
        return next(each.weight_bytes for each in kernels if each.name == node.name)

    assert bytes_read(1) == pytest.approx(whole * used / every, abs=1)
    assert bytes_read(100) == whole


def test_of_several_kernels_the_one_that_takes_longest_reads_the_weights(graph: Graph) -> None:
    output = graph.nodes[-1].name
    matrix = graph.weights["output.weight"].bytes
    timings = [
        *(timing for timing in each_node(graph) if timing.name != output),
        Timing(output, "quantise", 1e-6),
        Timing(output, "product", 5e-6),
        Timing(output, "product", 5e-6),
    ]
    quantise, *parts = kernel_times(graph, 1, [timings])[-3:]
    assert quantise.weight_bytes == 0
    assert parts[0].weight_bytes == parts[1].weight_bytes
    assert sum(part.weight_bytes for part in parts) == matrix


def test_the_median_is_of_the_rounds_after_the_first(graph: Graph) -> None:
    measured = [each_node(graph, seconds) for seconds in (9.0, 1.0, 2.0, 4.0)]
    assert {each.seconds for each in kernel_times(graph, 1, measured)} == {2.0}
    assert {each.seconds for each in kernel_times(graph, 1, measured[:1])} == {9.0}


def test_what_no_node_is_called_has_a_time_and_no_op(graph: Graph) -> None:
    (found,) = kernel_times(graph, 1, [[Timing("sampling", "largest", 1e-6)]])
    assert (found.op, found.weight_bytes, found.seconds) == ("", 0, 1e-6)


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ([Timing("logits", "another", 1e-6)], "ran other kernels"),
        ([Timing("logits", "product", float("nan"))], "make no sense"),
        ([Timing("logits", "product", -1e-6)], "make no sense"),
    ],
)
def test_timings_that_cannot_be_are_refused(graph: Graph, second: list[Timing], says: str) -> None:
    first = [Timing("logits", "product", 1e-6)]
    measured = [first, first, second] if says.startswith("ran") else [first, second]
    with pytest.raises(BackendError, match=says):
        kernel_times(graph, 1, measured)


def test_more_kernels_than_a_message_holds_are_refused(graph: Graph) -> None:
    with pytest.raises(BackendError, match="5000 kernels"):
        kernel_times(graph, 1, [[Timing("logits", "product", 1e-6)] * 5000])


class Clocked(Executable):
    """Remembers what it was asked; a run takes no time."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.asked: list[tuple[int, int, int]] = []

    @property
    def graph(self) -> Graph:
        return self._graph

    def run(self, *_: object) -> dict[str, object]:  # type: ignore[override]  # nobody asks
        return {}

    def profile(self, tokens: int, repetitions: int = 20, start: int = 0) -> list[Timing]:
        self.asked.append((tokens, repetitions, start))
        return each_node(self._graph)


def test_the_first_round_is_one_repetition_and_all_together_are_as_many_as_asked(
    graph: Graph,
) -> None:
    executable = Clocked(graph)
    done = [count for count, _ in rounds(executable, 7, 3, 20)]
    assert done[0] == 1
    assert done[-1] == 20
    assert sum(repetitions for _, repetitions, _ in executable.asked) == 20
    assert {(tokens, start) for tokens, _, start in executable.asked} == {(7, 3)}


def test_kernels_of_one_op_and_name_are_one_line_the_slowest_first() -> None:
    kernels = (
        KernelTime("a", "add", "plus", 1e-6),
        KernelTime("q", "matmul", "product", 2e-6, 4000, 8_000_000),
        KernelTime("k", "matmul", "product", 2e-6, 4000, 8_000_000),
    )
    first, second = shares(kernels)
    assert (first.op, first.calls, first.weight_bytes) == ("matmul", 2, 8000)
    assert (second.op, second.calls) == ("add", 1)
    head, titles, matmul, add = table(RunProfile(1, 40, kernels))
    assert head == "one token after 40: 3 kernels, 5.0 us"
    assert titles.split() == "op kernel calls total us share mean us GB/s TFLOP/s".split()
    assert matmul.split() == "matmul product 2 4.0 80.0 % 2.0 2 8".split()
    assert add.split() == "add plus 1 1.0 20.0 % 1.0".split()
