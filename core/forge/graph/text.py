"""A graph as text, one line a node."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forge.graph.spec import Attr

if TYPE_CHECKING:
    from forge.graph.graph import Graph


def _attr(value: Attr) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, tuple):
        return f"<{len(value)}: {value[0]:.4g} … {value[-1]:.4g}>"
    return str(value)


def as_text(graph: Graph) -> str:
    """Inputs, weights, state, nodes with their shapes, outputs."""
    specs = graph.validate()
    lines = [f"graph {graph.name}"]
    for title, entries in (
        ("inputs", graph.inputs),
        ("weights", graph.weights),
        ("state", graph.state),
    ):
        lines.append(f"{title}:")
        width = max(map(len, entries), default=0)
        lines += [f"  {name:{width}}  {spec}" for name, spec in entries.items()]
    lines.append("nodes:")
    width = max((len(node.name) for node in graph.nodes), default=0)
    for node in graph.nodes:
        spec = str(specs[node.name])
        attrs = "".join(f", {key}={_attr(value)}" for key, value in node.attrs.items())
        lines.append(
            f"  {node.name:{width}}  {spec:16} = {node.op}({', '.join(node.inputs)}{attrs})"
        )
    lines.append(f"outputs: {', '.join(graph.outputs)}")
    return "\n".join(lines) + "\n" + _totals(graph)


def _totals(graph: Graph) -> str:
    weights = sum(w.elements for w in graph.distinct_weights())
    state = sum(s.elements for s in graph.state.values())
    return (
        f"{len(graph.nodes)} nodes, {weights / 1e6:,.1f} M weights, "
        f"{state / 1e6:,.1f} M elements of state, "
        f"{graph.multiply_adds() / 1e6:,.1f} M multiply-adds a token"
    )
