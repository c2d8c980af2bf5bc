"""What is wrong with a graph as a whole is an error that names the culprit."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from forge.errors import GraphError
from forge.graph import TOKENS, Graph, Node, Op, StateSpec, TensorSpec, WeightSpec

Spec = TensorSpec | WeightSpec | StateSpec
INDEX = TensorSpec((TOKENS,), "i32")
ACTS = TensorSpec((TOKENS, 4))
CACHE = StateSpec(1, 1, 8, 4)


def weight(*shape: int, dtype: str = "f32", rows: tuple[int, int] | None = None) -> WeightSpec:
    return WeightSpec("tensor", shape, dtype, rows)


def refused(graph: Graph, *words: str) -> None:
    with pytest.raises(GraphError) as caught:
        graph.validate()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for word in words:
        assert word in message


def chain() -> Graph:
    """Two nodes, one after the other, in one layer each."""
    nodes = (
        Node("one", Op.SCALE, ("x",), {"factor": 2.0}, 0),
        Node("two", Op.ADD, ("one", "x"), {}, 1),
    )
    return Graph({"x": ACTS}, {}, {}, nodes, ("two",), "chain")


def test_a_name_that_is_nothing_yet_is_refused() -> None:
    graph = chain()
    one, two = graph.nodes
    lost = replace(two, inputs=("one", "three"))
    refused(replace(graph, nodes=(one, lost)), "chain: node two", "three")
    late = (replace(two, layer=0), one)
    refused(replace(graph, nodes=late), "node two", "one")
    itself = replace(one, inputs=("one",))
    refused(replace(graph, nodes=(itself, two)), "node one")


def test_a_name_given_twice_is_refused() -> None:
    graph = chain()
    one, two = graph.nodes
    refused(replace(graph, nodes=(one, replace(two, name="one"))), "one is defined 2 times")
    refused(replace(graph, weights={"x": weight(4)}), "x is defined 2 times")
    refused(replace(graph, state={"two": CACHE}), "two is defined 2 times")


def test_layers_that_go_back_are_refused() -> None:
    graph = chain()
    one, two = graph.nodes
    refused(replace(graph, nodes=(replace(one, layer=2), two)), "node two", "layer 1 after 2")


def test_outputs_must_be_there_and_be_computed() -> None:
    for outputs, word in (((), "needs an output"), (("x",), "output x"), (("no",), "output no")):
        refused(replace(chain(), outputs=outputs), word)


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        (weight(4, dtype="q9_9"), "q9_9"),
        (weight(4, 33, dtype="q8_0"), "blocks of 32"),
        (weight(4, 0), "empty"),
        (weight(-4), "empty"),
        (weight(), "empty"),
        (weight(4, 4, rows=(2, 7)), "rows (2, 7)"),
        (weight(4, 4, rows=(-4, 0)), "rows (-4, 0)"),
        (TensorSpec((TOKENS, 4), "f64"), "f64"),
        (TensorSpec((TOKENS, 0)), "empty"),
        (StateSpec(1, 0, 8, 4), "empty"),
        (StateSpec(1, 2, 8, 4, "q4_0"), "q4_0"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_name(spec: Spec, word: str) -> None:
    graph = chain()
    kind = {TensorSpec: "inputs", WeightSpec: "weights", StateSpec: "state"}[type(spec)]
    changes: dict[str, Any] = {kind: {**getattr(graph, kind), "culprit": spec}}
    refused(replace(graph, **changes), "culprit", word)


def attending() -> Graph:
    """One node with two states."""
    state = {"keys": CACHE, "values": CACHE}
    inputs = {"x": ACTS, "positions": INDEX, "slots": INDEX}
    names = ("x", "x", "x", "keys", "values", "positions", "slots")
    attrs = {"heads": 1, "kv_heads": 1, "scale": 0.5}
    return Graph(inputs, {}, state, (Node("attn", Op.ATTENTION, names, attrs, 0),), ("attn",))


def test_two_nodes_cannot_write_one_state() -> None:
    graph = attending()
    graph.validate()
    again = replace(graph.nodes[0], name="again")
    refused(replace(graph, nodes=(*graph.nodes, again)), "node again", "that of attn")


def test_a_node_cannot_keep_keys_and_values_in_one_state() -> None:
    graph = attending()
    (node,) = graph.nodes
    names = ("x", "x", "x", "keys", "keys", "positions", "slots")
    refused(replace(graph, nodes=(replace(node, inputs=names),)), "node attn", "keys")


def test_a_graph_is_frozen_and_survives_pickling() -> None:
    graph = attending()
    assert pickle.loads(pickle.dumps(graph)) == graph
    with pytest.raises(FrozenInstanceError):
        graph.outputs = ()  # type: ignore[misc]  # that it cannot is what is tested
