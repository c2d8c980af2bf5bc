"""Weights of a type that a backend lacks become one that it has, before anything is loaded."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from forge.backend import Backend
from forge.errors import BackendUnsupported
from forge.graph import Graph, Node, Value, WeightSpec

OFFERED = ("f16", "f32")
"""What a weight is offered as, in this order."""


def convert(graph: Graph, backend: Backend) -> tuple[Graph, list[str]]:
    """The graph as the backend can compute it, and what was changed, in words.

    BackendUnsupported names the first node that the backend cannot compute in any type.
    """
    specs = graph.validate()
    changed: Counter[tuple[str, str]] = Counter()
    for node in graph.nodes:
        if not backend.supports(node, specs):
            offer = _offer(node, specs, backend)
            for old in (specs[name] for name in offer):
                if isinstance(old, WeightSpec):
                    changed[old.dtype, next(iter(offer.values())).dtype] += 1
            specs |= offer
    weights = {name: spec for name in graph.weights if isinstance(spec := specs[name], WeightSpec)}
    for node in graph.nodes:  # a weight that two nodes share may suit only the later one
        if not backend.supports(node, specs):
            raise _unsupported(node, specs, backend)
    notes = [
        f"{count} weight{'s' if count > 1 else ''} converted from {old.upper()} to {new.upper()}: "
        f"{backend.device.name} has no kernel for them"
        for (old, new), count in changed.items()
    ]
    return replace(graph, weights=weights), notes


def _offer(node: Node, specs: dict[str, Value], backend: Backend) -> dict[str, WeightSpec]:
    for dtype in OFFERED:
        offer = {
            name: replace(spec, dtype=dtype)
            for name in node.inputs
            if isinstance(spec := specs[name], WeightSpec) and spec.dtype != "f32"
        }
        if offer and backend.supports(node, {**specs, **offer}):
            return offer
    raise _unsupported(node, specs, backend)


def _unsupported(node: Node, specs: dict[str, Value], backend: Backend) -> BackendUnsupported:
    inputs = ", ".join(str(specs[name]) for name in node.inputs)
    return BackendUnsupported(
        f"{backend.device.name} cannot compute node {node.name}: {node.op}({inputs})"
    )
