"""Stages, totals and the printed form of a real architecture's graph."""

from __future__ import annotations

from dataclasses import replace

import pytest

from forge.errors import GraphError
from forge.gguf import open_gguf
from forge.graph import Graph, Node, Op
from forge.models import build_graph
from forge.testing import write_tiny


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    path = write_tiny(tmp_path_factory.mktemp("tiny") / "m.gguf", "qwen2", layers=3, tied=True)
    with open_gguf(path) as file:
        return build_graph(file, context=100, slots=2, state_dtype="f16")


@pytest.mark.parametrize("layer", [0, 1, 2, 3])
def test_two_stages_are_valid_and_share_nothing_but_the_hidden_state(
    graph: Graph, layer: int
) -> None:
    first, second = graph.split(layer)
    first.validate()
    second.validate()
    assert first.nodes + second.nodes == graph.nodes
    (hidden,) = first.outputs
    assert hidden in second.inputs
    assert "tokens" in first.inputs
    assert "tokens" not in second.inputs
    assert {**first.state, **second.state} == graph.state
    assert {**first.weights, **second.weights} == graph.weights
    shared = first.weights.keys() & second.weights.keys()
    assert shared == {"token_embd.weight"}  # tied: the embedding is also the output
    assert second.outputs == graph.outputs


def test_a_stage_splits_again(graph: Graph) -> None:
    first, rest = graph.split(1)
    second, third = rest.split(2)
    assert first.nodes + second.nodes + third.nodes == graph.nodes
    assert second.outputs[0] in third.inputs


def test_a_cut_that_two_values_cross_is_refused_by_their_names(graph: Graph) -> None:
    nodes = list(graph.nodes)
    at = next(i for i, node in enumerate(nodes) if node.name == "blk.2.attn_norm")
    first_norm = next(node for node in nodes if node.name == "blk.1.attn_norm")
    nodes.insert(at, Node("blk.2.bridge", Op.ADD, (first_norm.name, "blk.1.residual"), {}, 2))
    with pytest.raises(GraphError, match=r"layer 2: blk\.1\.attn_norm, blk\.1\.residual crosses"):
        replace(graph, nodes=tuple(nodes)).split(2)


def test_an_output_of_the_first_stage_cannot_be_cut_off(graph: Graph) -> None:
    early = replace(graph, outputs=("blk.0.residual",))
    with pytest.raises(GraphError, match="cannot split at layer 1"):
        early.split(1)


def test_tied_weights_and_state_are_counted_once(graph: Graph) -> None:
    width, ffn, kv, vocabulary, layers = 64, 192, 32, 256, 3
    layer = 2 * width * width + 2 * width * kv + 3 * width * ffn
    vectors = 2 * width + width + 2 * kv
    total = layers * (layer + vectors) + vocabulary * width + width
    assert sum(w.elements for w in graph.distinct_weights()) == total
    assert graph.multiply_adds() == layers * layer + vocabulary * width
    assert graph.state_bytes() == layers * 2 * 2 * (2 * 2 * 100 * 16)
    assert replace(graph, state={}).state_bytes() == 0


def test_a_graph_prints_every_part_of_itself(graph: Graph) -> None:
    text = str(graph)
    for node in graph.nodes:
        (line,) = (x for x in text.splitlines() if x.split()[:1] == [node.name] and "=" in x)
        assert f"{node.op}({', '.join(node.inputs)}" in line
    for name in (*graph.inputs, *graph.weights, *graph.state):
        assert any(line.split()[:1] == [name] for line in text.splitlines())
    assert "f32[T, 64]" in text
    assert "f16[2, 2, 100, 16]" in text
    assert "heads=4" in text
    assert "<8: 1 … 0.0003162>" in text
    assert "outputs: logits" in text
    assert f"{len(graph.nodes)} nodes, 0.2 M weights" in text
