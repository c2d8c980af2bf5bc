"""The known-answer check: it covers what a graph uses, passes what is right, names what lies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from forge.backend import BackendConfig, Executable, Progress, Rows
from forge.errors import BackendWrong
from forge.gguf import GGUFFile, open_gguf
from forge.graph import ROWS, TOKENS, Graph, Node, Op, StateSpec, TensorSpec, WeightSpec
from forge.models import build_graph
from forge.probe import BOUND, cases, check
from forge.testing import write_tiny
from forge.weights import Weight
from forge_cpu.plain import NumpyBackend

Array = np.ndarray[Any, Any]
USED = [
    Op.EMBED,
    Op.RMS_NORM,
    Op.MATMUL,
    Op.ROPE,
    Op.ATTENTION,
    Op.ADD,
    Op.SILU_MUL,
    Op.SELECT_ROWS,
]
Lie = Callable[[Node, Array], Array]


def silent(done: int, total: int, what: str) -> None:
    """No one listens."""


@pytest.fixture(params=["llama", "qwen2", "qwen3"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> GGUFFile:
    path = write_tiny(tmp_path / "m.gguf", request.param, quant="q8_0", output_quant="q4_0")
    return open_gguf(path)


class Lying(NumpyBackend):
    """Computes as the CPU does, then changes the answer of some ops."""

    def __init__(self, lie: Lie) -> None:
        super().__init__(BackendConfig(threads=1))
        self._lie = lie

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        return LyingExecutable(super().compile(graph, weights, progress), self._lie)


class LyingExecutable(Executable):
    def __init__(self, honest: Executable, lie: Lie) -> None:
        self._honest, self._lie = honest, lie

    @property
    def graph(self) -> Graph:
        return self._honest.graph

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        out = self._honest.run(inputs, positions, slots, rows)
        node, *others = self.graph.nodes
        return out if others else {name: self._lie(node, value) for name, value in out.items()}


def test_an_honest_backend_passes_far_below_the_bound(file: GGUFFile) -> None:
    beats: list[tuple[int, int, str]] = []
    backend = NumpyBackend(BackendConfig(threads=1))
    worst = check(backend, build_graph(file), file, lambda *beat: beats.append(beat))
    assert worst < BOUND / 1e6
    done = [done for done, _, _ in beats]
    assert done == sorted(done)
    assert {total for _, total, _ in beats} == {done[-1]}
    assert {*done} == {*range(1, done[-1] + 1)}


def test_every_op_weight_type_and_head_count_has_a_case(file: GGUFFile) -> None:
    graph = build_graph(file)
    covered = set()
    for case in cases(graph):
        case.graph.validate()
        (node,) = case.graph.nodes
        types = tuple(spec.dtype for spec in case.graph.weights.values())
        covered.add((node.op, types, node.attrs.get("heads")))
    for node in graph.nodes:
        types = tuple(graph.weights[n].dtype for n in node.inputs if n in graph.weights)
        assert (node.op, types, node.attrs.get("heads")) in covered, node.name
    assert (Op.MATMUL, ("q4_0",), None) in covered
    assert len(list(cases(graph))) < 25


@pytest.mark.parametrize("op", USED)
@pytest.mark.parametrize(
    "lie",
    [
        lambda out: out * np.float32(1.04),
        lambda out: out + np.float32(0.5),
        lambda out: np.roll(out, 1, axis=-1),
        lambda out: np.zeros_like(out),
        lambda out: np.full_like(out, np.nan),
        lambda out: out[:, :-1],
    ],
    ids=["scaled", "shifted", "rolled", "zeros", "nan", "cut"],
)
def test_a_backend_that_computes_one_op_wrongly_is_found_out(
    lie: Callable[[Array], Array], op: Op, file: GGUFFile
) -> None:
    backend = Lying(lambda node, out: lie(out) if node.op is op else out)
    with pytest.raises(BackendWrong, match=f"computes {op}.* wrongly: error .*, bound 0.001"):
        check(backend, build_graph(file), file, silent)


class Rewriting(NumpyBackend):
    """Compiles another graph than it was given."""

    def __init__(self, change: Callable[[Node], Node], chunk: int = 512) -> None:
        super().__init__(BackendConfig(threads=1))
        self._change, self._chunk = change, chunk

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        changed = replace(graph, nodes=tuple(map(self._change, graph.nodes)))
        executable = super().compile(changed, weights, progress)
        executable.chunk = self._chunk
        return executable


def with_attrs(op: Op, **attrs: Any) -> Callable[[Node], Node]:
    """A change that gives nodes of `op` other attributes."""

    def change(node: Node) -> Node:
        return replace(node, attrs={**node.attrs, **attrs}) if node.op is op else node

    return change


def test_an_attention_scale_ten_percent_off_is_found_out(file: GGUFFile) -> None:
    backend = Rewriting(with_attrs(Op.ATTENTION, scale=1.1 * 16**-0.5))
    with pytest.raises(BackendWrong, match="attention"):
        check(backend, build_graph(file), file, silent)


def test_attention_that_forgets_what_is_far_away_is_found_out(file: GGUFFile) -> None:
    with pytest.raises(BackendWrong, match="attention"):
        check(Rewriting(with_attrs(Op.ATTENTION, window=30)), build_graph(file), file, silent)


def test_a_case_comes_in_runs_that_the_backend_takes(file: GGUFFile) -> None:
    honest = Rewriting(lambda node: node, chunk=3)
    assert check(honest, build_graph(file), file, silent) < BOUND / 1e6


def test_one_bad_row_of_the_second_run_is_found_out(file: GGUFFile) -> None:
    backend = Lying(lambda node, out: -out if node.op is Op.ATTENTION and len(out) == 1 else out)
    with pytest.raises(BackendWrong, match="attention"):
        check(backend, build_graph(file), file, silent)


def test_rounding_to_eight_bits_is_no_lie(file: GGUFFile) -> None:
    def rounded(_: Node, out: Array) -> Array:
        step = np.abs(out).max(axis=-1, keepdims=True) / 127
        return np.asarray(np.round(out / np.where(step == 0, 1, step)) * step, np.float32)

    assert 0 < check(Lying(rounded), build_graph(file), file, silent) < BOUND


def test_a_stage_is_checked_like_a_whole_model(file: GGUFFile) -> None:
    for stage in build_graph(file).split(1):
        assert check(NumpyBackend(BackendConfig(threads=1)), stage, file, silent) < BOUND / 1e6


def test_a_vocabulary_smaller_than_the_case_is_no_overrun(tmp_path: Path) -> None:
    with open_gguf(write_tiny(tmp_path / "m.gguf", vocabulary=2)) as file:
        assert check(NumpyBackend(BackendConfig(threads=1)), build_graph(file), file, silent) < 1e-9


@pytest.mark.parametrize("architecture", ["gemma2", "qwen2moe", "gpt-oss", "granitemoe", "gpt2"])
def test_the_known_answers_of_other_families_are_right_and_cover_their_nodes(
    architecture: str, tmp_path: Path
) -> None:
    with open_gguf(write_tiny(tmp_path / "m.gguf", architecture)) as file:
        graph = build_graph(file)
        assert check(NumpyBackend(BackendConfig(threads=1)), graph, file, silent) < 1e-9
        assert {node.op for node in graph.nodes} == {c.graph.nodes[0].op for c in cases(graph)}
        windows = {n.attrs.get("window", 0) for n in graph.nodes if n.op is Op.ATTENTION}
        checked = [c.graph.nodes[0] for c in cases(graph)]
        assert windows == {n.attrs.get("window", 0) for n in checked if n.op is Op.ATTENTION}


def test_ops_that_no_architecture_uses_yet_have_cases_too(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    tensors = {
        "gate": (6, 8, 32),
        "up": (6, 8, 32),
        "down": (6, 32, 8),
        "scores": (6, 32),
        "gate_bias": (6, 8),
        "up_bias": (6, 8),
        "down_bias": (6, 32),
        "fused": (64, 32),
        "sinks": (4,),
        "bias": (32,),
        "norm": (32,),
    }
    writer = gguf.GGUFWriter(tmp_path / "w.gguf", "llama")
    for name, shape in tensors.items():
        writer.add_tensor(name, random.standard_normal(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    index = TensorSpec((TOKENS,), "i32")
    weights = {name: WeightSpec(name, shape, "f32") for name, shape in tensors.items()}
    weights["places"] = weights["fused"]
    weights["fused"] = replace(weights["fused"], shape=(32, 32), rows=(32, 64))
    state = {"keys": StateSpec(1, 2, 64, 8), "values": StateSpec(1, 2, 64, 8)}
    parts, oai = ("gate", "up", "down"), {"used": 5, "activation": "swiglu_oai"}
    nodes = (
        Node("ln", Op.LAYER_NORM, ("x", "norm", "bias"), {"epsilon": 1e-5}),
        Node("scored", Op.MATMUL, ("ln", "scores")),
        Node("moe", Op.EXPERTS, ("ln", "scored", "gate", "up", "down"), {"used": 5}),
        Node("biased", Op.EXPERTS, ("ln", "scored", *parts, *(f"{p}_bias" for p in parts)), oai),
        Node("place", Op.EMBED, ("positions", "places")),
        Node("q", Op.MATMUL, ("moe", "fused")),
        Node("k", Op.MUL, ("moe", "bias")),
        Node("half", Op.MATMUL, ("k", "narrow")),
        Node(
            "attn",
            Op.ATTENTION,
            ("q", "half", "half", "keys", "values", "positions", "slots", "sinks"),
            {"heads": 4, "kv_heads": 2, "scale": 0.5, "window": 3, "softcap": 20.0},
        ),
        Node("act", Op.GELU_MUL, ("attn",), {"approximation": "quick"}),
        Node("capped", Op.SOFTCAP, ("act",), {"cap": 30.0}),
        Node("scaled", Op.SCALE, ("capped",), {"factor": 3.0}),
        Node("out", Op.SELECT_ROWS, ("scaled", "rows")),
    )
    weights["narrow"] = WeightSpec("fused", (16, 32), "f32", (0, 16))
    inputs = {"x": TensorSpec((TOKENS, 32)), "positions": index, "slots": index}
    inputs["rows"] = TensorSpec((ROWS,), "i32")
    graph = Graph(inputs, weights, state, nodes, ("out",))
    graph.validate()
    backend = NumpyBackend(BackendConfig(threads=1))
    with open_gguf(tmp_path / "w.gguf") as file:
        assert check(backend, graph, file, silent) < 1e-9
        for op in (Op.EXPERTS, Op.LAYER_NORM, Op.SOFTCAP, Op.ATTENTION, Op.GELU_MUL):
            with pytest.raises(BackendWrong, match=str(op)):
                check(Lying(lambda n, out, op=op: -out if n.op is op else out), graph, file, silent)  # type: ignore[misc]  # mypy knows no defaults in lambdas
