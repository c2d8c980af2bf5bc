"""A backend that lacks a type gets another; one that lacks an op is told so before any work."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forge.backend import Backend, BackendConfig, Executable, Graph, Node, Op, Value, WeightSpec
from forge.conversion import convert
from forge.errors import BackendUnsupported
from forge.gguf import GGUFFile, open_gguf
from forge.models import build_graph
from forge.probe import check
from forge.testing import write_tiny
from forge.weights import Weights
from forge_cpu.plain import NumpyBackend

Array = np.ndarray[Any, Any]
TOKENS = np.random.default_rng(0).integers(0, 256, 30).astype(np.int32)


class Narrow(NumpyBackend):
    """Computes only ops and weight types that it is told of."""

    def __init__(self, types: Mapping[Op, set[str]] | set[str], without: tuple[Op, ...] = ()):
        super().__init__(BackendConfig(threads=1))
        self._types, self._without = types, without

    def supports(self, node: Node, specs: Mapping[str, Value]) -> bool:
        types = self._types if isinstance(self._types, set) else self._types.get(node.op, {"f32"})
        weights = (specs[name] for name in node.inputs)
        fits = all(w.dtype in types for w in weights if isinstance(w, WeightSpec))
        return fits and node.op not in self._without


@pytest.fixture(params=["q8_0", "q4_0", "bf16"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> GGUFFile:
    return open_gguf(write_tiny(tmp_path / "m.gguf", "qwen2", quant=request.param, tied=True))


def loaded(backend: Backend, graph: Graph, file: GGUFFile) -> Executable:
    return backend.compile(graph, Weights(graph, file), lambda *_: None)


def logits(executable: Executable) -> Array:
    at = np.arange(len(TOKENS), dtype=np.int32)
    return executable.run({"tokens": TOKENS}, at, np.zeros_like(at), "all")["logits"]


def kind(file: GGUFFile) -> str:
    return file.tensors["token_embd.weight"].type.name


def test_a_backend_with_every_type_gets_the_graph_as_it_is(file: GGUFFile) -> None:
    graph = build_graph(file)
    assert convert(graph, NumpyBackend(BackendConfig(threads=1))) == (graph, [])


@pytest.mark.parametrize("types", [{"f16", "f32"}, {"f32"}])
def test_weights_of_a_missing_type_are_converted_and_that_is_reported(
    types: set[str], file: GGUFFile
) -> None:
    backend = Narrow(types)
    graph, notes = convert(build_graph(file), backend)
    to = "f16" if "f16" in types else "f32"
    graph.validate()
    for name, spec in graph.weights.items():
        matrix = len(spec.shape) == 2
        assert spec.dtype == (to if matrix else "f32"), name
    assert notes == [
        f"15 weights converted from {kind(file)} to {to.upper()}: "
        f"{backend.device.name} has no kernel for them"
    ]
    assert all(backend.supports(node, graph.validate()) for node in graph.nodes)


def test_a_converted_model_answers_as_the_file_does(file: GGUFFile) -> None:
    exact = logits(loaded(NumpyBackend(BackendConfig(threads=1)), build_graph(file), file))
    for types, tolerance in (({"f32"}, 0.0), ({"f16", "f32"}, 0.05)):
        backend = Narrow(types)
        graph, _ = convert(build_graph(file), backend)
        got = logits(loaded(backend, graph, file))
        assert np.abs(got - exact).max() <= tolerance
        assert check(backend, graph, file, lambda *_: None) < 1e-6


def test_only_the_nodes_that_need_it_are_converted(file: GGUFFile) -> None:
    own = kind(file).lower()
    types = {Op.EMBED: {own}, Op.MATMUL: {own, "f32"}, Op.ADD: {"f32"}}
    graph, notes = convert(build_graph(file), Narrow(types))
    assert graph.weights["token_embd.weight"].dtype == own
    assert notes == []
    types = {Op.EMBED: {"f16"}, Op.MATMUL: {own, "f16"}}
    graph, notes = convert(build_graph(file), Narrow(types))
    assert graph.weights["token_embd.weight"].dtype == "f16"
    assert graph.weights["blk.0.attn_q.weight"].dtype == own
    assert [note.split(":")[0] for note in notes] == [
        f"1 weight converted from {own.upper()} to F16"
    ]


@pytest.mark.parametrize(
    ("op", "node"),
    [
        (Op.EMBED, "embd"),
        (Op.ROPE, "blk.0.q_rope"),
        (Op.ATTENTION, "blk.0.attn"),
        (Op.SILU_MUL, "blk.0.ffn_act"),
        (Op.SELECT_ROWS, "blk.1.rows"),
        (Op.MATMUL, "blk.0.q_product"),
    ],
)
def test_a_missing_op_names_the_first_node_that_needs_it(op: Op, node: str, file: GGUFFile) -> None:
    with pytest.raises(BackendUnsupported, match=rf"cannot compute node {node}: {op}\(") as caught:
        convert(build_graph(file), Narrow({"f16", "f32"}, without=(op,)))
    assert len(str(caught.value).splitlines()) == 1


def test_a_type_that_neither_is_nor_can_be_offered_is_an_error(file: GGUFFile) -> None:
    with pytest.raises(BackendUnsupported, match=r"node blk\.0\.attn_norm: rms_norm"):
        convert(build_graph(file), Narrow({kind(file).lower()}))


def test_a_weight_that_two_nodes_want_in_two_types_is_an_error(file: GGUFFile) -> None:
    types = {Op.EMBED: {"f16"}, Op.MATMUL: {"f32"}}
    with pytest.raises(BackendUnsupported, match=r"token_embd\.weight"):
        convert(build_graph(file), Narrow(types))
