"""Which nodes the kernels compute; a graph with any other runs in numpy."""

from __future__ import annotations

from collections.abc import Mapping

from forge.backend import Graph, Node, Op, TensorSpec, Value, WeightSpec
from forge_cpu.compiled.emit import EMITTERS
from forge_cpu.compiled.packed import BIASES
from forge_cpu.formats import FORMATS
from forge_cpu.packing import DENSE

MATRICES = (*sorted(DENSE), *FORMATS)
"""Types that matrices are computed in."""


def computes(node: Node, specs: Mapping[str, Value]) -> bool:
    """Whether there are kernels for a node, with weights of these types."""
    if node.op not in EMITTERS:
        return False
    if node.op is Op.EMBED and node.inputs[0] not in ("tokens", "positions"):
        return False
    return reads(node, specs)


def reads(node: Node, specs: Mapping[str, Value]) -> bool:
    """Whether the node's matrices are of types that kernels read, be there one for the op or not.

    Weights of other types are converted before they are loaded.
    """
    added = node.inputs[BIASES] if node.op is Op.EXPERTS else ()
    given = [specs[name] for name in node.inputs if name not in added]
    weights = [spec for spec in given if isinstance(spec, WeightSpec)]
    return all(spec.dtype in MATRICES for spec in weights if len(spec.shape) > 1)


def all_computed(graph: Graph) -> bool:
    """Whether a graph can be one program."""
    specs = graph.validate()
    inputs = (spec for spec in graph.inputs.values() if isinstance(spec, TensorSpec))
    return all(computes(node, specs) for node in graph.nodes) and all(
        len(spec.shape) < 3 for spec in inputs
    )
