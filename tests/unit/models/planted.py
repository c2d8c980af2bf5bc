"""Bugs to plant in a graph: a node changed, a part left out, another's weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from forge.graph import Graph, Node, Op

Array = np.ndarray[Any, Any]
Change = Callable[[Node], Node]


def on(op: Op, change: Change, ending: str = "") -> Callable[[Graph], Graph]:
    """Change every node of an op, or those of it whose name ends so."""

    def changed(graph: Graph) -> Graph:
        chosen = [n for n in graph.nodes if n.op is op and n.name.endswith(ending)]
        assert chosen, "the bug has nothing to bite"
        nodes = tuple(change(n) if n in chosen else n for n in graph.nodes)
        graph = replace(graph, nodes=nodes)
        graph.validate()
        return graph

    return changed


def attrs(**values: Any) -> Change:
    return lambda node: replace(node, attrs={**node.attrs, **values})


def frequencies(change: Callable[[Array], Array]) -> Change:
    def changed(node: Node) -> Node:
        given = node.attrs["frequencies"]
        assert isinstance(given, tuple)
        return attrs(frequencies=tuple(map(float, change(np.array(given)))))(node)

    return changed


def passed_on(node: Node) -> Node:
    """Gives its first input back."""
    return Node(node.name, Op.SCALE, node.inputs[:1], {"factor": 1.0}, node.layer)


def other_style(node: Node) -> Node:
    return attrs(style="neox" if node.attrs["style"] == "norm" else "norm")(node)


def swapped(node: Node) -> Node:
    return replace(node, inputs=node.inputs[::-1])


def without(count: int) -> Change:
    """Its last inputs left out."""
    return lambda node: replace(node, inputs=node.inputs[:-count])


def normalised_otherwise(node: Node) -> Node:
    return attrs(normalize=not node.attrs["normalize"])(node)


def gate_for_up(node: Node) -> Node:
    x, scores, gate, up, *others = node.inputs
    return replace(node, inputs=(x, scores, up, gate, *others))


def norm_by_head(graph: Graph) -> Graph:
    """The weights of the first head for every head, each normalised by itself."""
    weights = {
        name: replace(w, shape=(16,), rows=(0, 16)) if "_norm" in name and "attn_q" in name else w
        for name, w in graph.weights.items()
    }
    return replace(graph, weights=weights)


def turned_everywhere(graph: Graph) -> Graph:
    """The layers without positions turn like the first one."""
    ropes = {e: n for e in "qk" for n in graph.nodes if n.name == f"blk.0.{e}_rope"}
    nodes: list[Node] = []
    for node in graph.nodes:
        changed = node
        if node.op is Op.ATTENTION and "rope" not in node.inputs[0]:
            names = []
            for rope, given in zip(ropes.values(), node.inputs[:2], strict=True):
                inputs = (given, "positions")
                nodes.append(replace(rope, name=f"{given}_rope", inputs=inputs, layer=node.layer))
                names.append(f"{given}_rope")
            changed = replace(node, inputs=(*names, *node.inputs[2:]))
        nodes.append(changed)
    return replace(graph, nodes=tuple(nodes))


def rms_for_layer_norm(graph: Graph) -> Graph:
    """The mean stays; the bias as well."""
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.op is not Op.LAYER_NORM:
            nodes.append(node)
            continue
        x, weight, bias = node.inputs
        inner = f"{node.name}_inner"
        nodes.append(replace(node, name=inner, op=Op.RMS_NORM, inputs=(x, weight)))
        nodes.append(Node(node.name, Op.ADD, (inner, bias), {}, node.layer))
    return replace(graph, nodes=tuple(nodes))


def rows_of_another(one: str, other: str) -> Callable[[Graph], Graph]:
    """The rows of one projection where the other's should be, as many as there are of both."""

    def changed(graph: Graph) -> Graph:
        weights = dict(graph.weights)
        for layer in range(2):
            names = [n.inputs[1] for e in (one, other) for n in graph.nodes
                     if n.name == f"blk.{layer}.{e}"]  # fmt: skip
            first, second = (weights[name] for name in names)
            assert first.rows
            assert second.rows
            weights[names[1]] = replace(
                second, rows=(first.rows[0], first.rows[0] + second.shape[0])
            )
        return replace(graph, weights=weights)

    return changed


def shorter(f: Array) -> Array:
    plain = 1e4 ** (-np.arange(len(f)) / len(f))
    return np.asarray(plain / np.linspace(1.0, 1.5, len(f)))


def one_layer_late(graph: Graph) -> Graph:
    """The first layer's cache serves the second as well: every layer has the same keys."""
    nodes = tuple(
        replace(n, inputs=(n.inputs[0], "blk.0.k_rope", *n.inputs[2:])) if n.name == "blk.1.attn"
        else n
        for n in graph.nodes
    )  # fmt: skip
    return replace(graph, nodes=nodes)


def change_window(by: int) -> Change:
    def changed(node: Node) -> Node:
        window = node.attrs.get("window")
        return attrs(window=window + by)(node) if isinstance(window, int) and window else node

    return changed


def everywhere(*endings: str) -> Callable[[Graph], Graph]:
    """Every layer turns as the first one does."""

    def changed(graph: Graph) -> Graph:
        first = {e: n for n in graph.nodes for e in endings if n.name == f"blk.0.{e}"}
        nodes = tuple(
            replace(n, attrs=first[n.name.rpartition(".")[2]].attrs) if n.op is Op.ROPE else n
            for n in graph.nodes
        )
        return replace(graph, nodes=nodes)

    return changed
