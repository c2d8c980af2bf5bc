"""The CPU backend in numpy: what it loads, keeps, counts and gives back."""

from __future__ import annotations

import gc
import os
import tracemalloc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from forge import Engine
from forge.backend import Backend, BackendConfig, BackendUnavailable, Graph, reference
from forge.errors import NoBackend
from forge.gguf import GGUFFile, open_gguf
from forge.graph import TOKENS, Node, Op, TensorSpec, WeightSpec
from forge.models import build_graph
from forge.plugins import Plugins
from forge.testing import write_tiny
from forge.weights import Weight, Weights
from forge_cpu.executable import CpuExecutable
from forge_cpu.plain import NumpyBackend

from .conftest import CPU, GREEDY, done, third

Array = np.ndarray[Any, Any]


@pytest.fixture
def file(tmp_path: Path) -> GGUFFile:
    return open_gguf(write_tiny(tmp_path / "m.gguf", "qwen3", quant="q8_0", tied=True))


def loaded(file: GGUFFile, graph: Graph | None = None, progress: Any = None) -> CpuExecutable:
    graph = graph or build_graph(file)
    backend = NumpyBackend(BackendConfig(threads=1))
    executable = backend.compile(graph, Weights(graph, file), progress or (lambda *_: None))
    assert isinstance(executable, CpuExecutable)
    return executable


def step(executable: CpuExecutable, tokens: list[int], start: int = 0) -> Array:
    at = np.arange(start, start + len(tokens), dtype=np.int32)
    ids = {"tokens": np.array(tokens, np.int32)}
    return executable.run(ids, at, np.zeros_like(at), "all")["logits"]


def test_it_supports_every_op_and_type(file: GGUFFile) -> None:
    backend: Backend = NumpyBackend(BackendConfig(threads=1))
    graph = build_graph(file)
    specs = graph.validate()
    assert set(reference.KERNELS) == set(Op)
    assert all(backend.supports(node, specs) for node in graph.nodes)


def test_each_weight_is_a_beat(file: GGUFFile) -> None:
    beats: list[tuple[Any, ...]] = []
    graph = build_graph(file)
    executable = loaded(file, graph, lambda *beat: beats.append(beat))
    total = len(graph.weights)
    assert [(phase, done, of) for phase, done, of, _ in beats] == [
        ("load", done, total) for done in range(1, total + 1)
    ]
    assert [name for *_, name in beats] == list(graph.weights)
    assert graph.nodes[0].inputs[1] == graph.nodes[-1].inputs[1]
    assert step(executable, [1, 2]).shape == (2, 256)


class Counted(Weight):
    """Counts how often it is dequantised."""

    times = 0

    def dense(self, dtype: Any = np.float32) -> Array:
        Counted.times += 1
        return super().dense(dtype)


def test_two_names_for_one_part_of_the_file_share_their_numbers(file: GGUFFile) -> None:
    spec = WeightSpec("token_embd.weight", (256, 64), "q8_0")
    part = WeightSpec("token_embd.weight", (9, 64), "q8_0", (3, 12))
    specs = {"one": spec, "two": spec, "rows": part, "same": part}
    nodes = tuple(Node(f"x_{name}", Op.MATMUL, ("x", name)) for name in specs)
    graph = Graph({"x": TensorSpec((TOKENS, 64))}, specs, {}, nodes, ("x_same",))
    Counted.times = 0
    weights = {name: Counted(spec, file) for name, spec in specs.items()}
    NumpyBackend(BackendConfig(threads=1)).compile(graph, weights, lambda *_: None)
    assert Counted.times == 2


def test_what_it_returns_belongs_to_the_caller(file: GGUFFile) -> None:
    executable = loaded(file)
    first = step(executable, [1, 2, 3])
    kept = first.copy()
    first[:] = np.nan
    executable.keep(0, 0)
    np.testing.assert_array_equal(step(executable, [1, 2, 3]), kept)


def test_the_same_run_gives_the_same_bits(file: GGUFFile) -> None:
    one, other = loaded(file), loaded(file)
    np.testing.assert_array_equal(step(one, [5, 6, 7]), step(other, [5, 6, 7]))


def test_a_deeper_model_needs_no_more_room_for_its_activations(tmp_path: Path) -> None:
    peaks = []
    for layers in (2, 12):
        executable = loaded(open_gguf(write_tiny(tmp_path / f"{layers}.gguf", layers=layers)))
        step(executable, [1])
        tracemalloc.start()
        step(executable, list(range(200)), 1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


class Zeros(Weight):
    """A weight of any size that takes no room."""

    def __init__(self, spec: WeightSpec) -> None:
        self.spec = spec

    def dense(self, dtype: Any = np.float32) -> Array:
        return np.broadcast_to(np.zeros((), dtype), self.spec.shape)

    def release(self) -> None:
        """Nothing is mapped."""


@pytest.mark.parametrize(
    ("rows", "columns", "chunk"), [(8, 8, 512), (1 << 15, 1 << 14, 32), (1 << 20, 1 << 20, 16)]
)
def test_chunks_shrink_as_models_grow_so_that_each_is_a_beat(
    rows: int, columns: int, chunk: int
) -> None:
    spec = WeightSpec("w", (rows, columns), "f32")
    x = TensorSpec((TOKENS, columns))
    graph = Graph({"x": x}, {"w": spec}, {}, (Node("out", Op.MATMUL, ("x", "w")),), ("out",))
    backend = NumpyBackend(BackendConfig(threads=1))
    assert backend.compile(graph, {"w": Zeros(spec)}, lambda *_: None).chunk == chunk


def test_a_long_context_costs_nothing_before_it_is_used(tmp_path: Path) -> None:
    path = write_tiny(tmp_path / "m.gguf", context=1 << 20, layers=2)
    with open_gguf(path) as file:
        graph = build_graph(file, context=1 << 20)
        assert graph.state_bytes() > 500 << 20
        before = resident()
        executable = loaded(file, graph)
        step(executable, [1, 2, 3])
        assert resident() - before < 64 << 20
        far = step(executable, [4], 5000)
        assert np.isfinite(far).all()


def resident() -> int:
    with Path("/proc/self/statm").open(encoding="ascii") as text:
        return int(text.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_what_it_says_it_needs_is_what_it_holds(file: GGUFFile) -> None:
    graph = build_graph(file)
    needed = NumpyBackend(BackendConfig(threads=1)).required(graph)
    weights = 4 * sum(spec.elements for spec in graph.distinct_weights())
    state = 4 * sum(spec.elements for spec in graph.state.values())
    assert needed >= weights + state
    assert needed <= weights + state + (64 << 20)


def test_memory_is_told_and_what_is_free_is_not_more_than_there_is() -> None:
    memory = NumpyBackend(BackendConfig(threads=1)).memory()
    assert 0 < memory.free <= memory.total


def test_threads_are_as_asked_while_it_is_open() -> None:
    before = [pool["num_threads"] for pool in threadpool_info()]
    backend = NumpyBackend(BackendConfig(threads=1))
    assert "(1 threads)" in backend.device.name
    assert backend.device.kind == "cpu"
    assert all(pool["num_threads"] == 1 for pool in threadpool_info())
    backend.close()
    assert [pool["num_threads"] for pool in threadpool_info()] == before


def test_without_being_asked_it_uses_the_processors_it_may() -> None:
    backend = NumpyBackend(BackendConfig())
    assert backend.threads == len(os.sched_getaffinity(0))
    backend.close()


def test_closing_gives_weights_and_state_back_and_may_be_done_twice(file: GGUFFile) -> None:
    executable = loaded(file)
    table = weakref.ref(executable._weights["token_embd.weight"])
    executable.close()
    executable.close()
    gc.collect()
    assert table() is None


@pytest.mark.parametrize("device", [None, "0"])
def test_its_one_device_may_be_named_or_not(device: str | None) -> None:
    backend = NumpyBackend(BackendConfig(device=device, threads=1))
    assert [found.id for found in backend.devices()] == ["0"]
    backend.close()


@pytest.mark.parametrize("device", ["nope", "1", ""])
def test_a_device_that_is_not_there_is_refused_with_the_one_that_is(device: str) -> None:
    with pytest.raises(BackendUnavailable, match=f"no device '{device}': there is only 0"):
        NumpyBackend(BackendConfig(device=device, threads=1))


def test_asked_for_by_name_with_a_device_that_is_not_there_nothing_answers(model: Path) -> None:
    with (
        Engine(model, backend=CPU, device="nope", fallback_to=[CPU]) as engine,
        pytest.raises(NoBackend, match="no device 'nope': there is only 0"),
    ):
        list(engine.load())


def test_a_device_chosen_for_the_best_backend_does_not_keep_the_floor_from_answering(
    model: Path,
) -> None:
    fails = third(FAULT="BackendLost@token:3")
    with Engine.open(model, device="7", fallback_to=[fails, CPU]) as engine:
        assert engine.device == "Third 7"
        reply = done(engine.generate([60, 61], GREEDY, max_tokens=5, stop_ids=()))
        assert (reply.backend, len(reply.tokens)) == ("cpu", 5)


def test_it_is_found_as_a_plugin_and_is_the_floor() -> None:
    spec = Plugins().backend("cpu")
    assert spec.floor
    assert spec.factory == "forge_cpu.backend:CpuBackend"
