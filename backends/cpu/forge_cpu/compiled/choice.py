"""Which nodes the kernels compute; a graph with any other runs in numpy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec

from forge.backend import Graph, Node, Op, TensorSpec, Value, WeightSpec
from forge_cpu.compiled.emit import EMITTERS
from forge_cpu.formats import FORMATS

MATRICES = ("f32", "f16", "bf16", *FORMATS)
"""Types that matrices are computed in."""


VARIABLE = "FORGE_CPU_KERNELS"


def available() -> bool:
    """Whether kernels are asked for, and numba, which is an extra, is here to compile them."""
    return os.environ.get(VARIABLE) == "1" and find_spec("numba") is not None


def computes(node: Node, specs: Mapping[str, Value]) -> bool:
    """Whether there are kernels for a node, with weights of these types."""
    if node.op not in EMITTERS:
        return False
    if node.op is Op.EMBED and node.inputs[0] != "tokens":
        return False
    weights = [spec for name in node.inputs if isinstance(spec := specs[name], WeightSpec)]
    return all(spec.dtype in MATRICES for spec in weights if len(spec.shape) > 1)


def all_computed(graph: Graph) -> bool:
    """Whether a graph can be one program."""
    specs = graph.validate()
    inputs = (spec for spec in graph.inputs.values() if isinstance(spec, TensorSpec))
    return all(computes(node, specs) for node in graph.nodes) and all(
        len(spec.shape) < 3 for spec in inputs
    )
