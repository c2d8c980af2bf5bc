"""Which nodes the GPU kernels have."""

from __future__ import annotations

from collections.abc import Mapping

from forge.backend import BackendUnsupported, Node, Op, StateSpec, Value, WeightSpec
from forge_gpu.emitters import EMITTERS
from forge_gpu.formats import FORMATS
from forge_gpu.kv import row_words
from forge_gpu.steps.attention import LARGEST

_VECTORS = frozenset({"f32", "f16", "bf16"})
"""Types of weights of one row, which become float32."""


def supported(node: Node, specs: Mapping[str, Value]) -> bool:
    """Every op, with the weight types and sizes that the kernels have."""
    given = [specs[name] for name in node.inputs]
    weights = [spec for spec in given if isinstance(spec, WeightSpec)]
    states = [spec for spec in given if isinstance(spec, StateSpec)]
    match node.op:
        case Op.EMBED:
            return node.inputs[0] in ("tokens", "positions") and weights[0].dtype in FORMATS
        case Op.MATMUL:
            return all(spec.dtype in FORMATS for spec in weights)
        case Op.EXPERTS:
            matrices, biases = weights[:3], weights[3:]
            return all(spec.dtype in FORMATS for spec in matrices) and all(
                spec.dtype in _VECTORS for spec in biases
            )
        case Op.ATTENTION:
            return (
                all(spec.dtype in _VECTORS for spec in weights)
                and all(state.size <= LARGEST and _has_cache(state) for state in states)
                and states[0].dtype == states[1].dtype
            )
        case _:
            return node.op in EMITTERS and all(spec.dtype in _VECTORS for spec in weights)


def _has_cache(state: StateSpec) -> bool:
    try:
        row_words(state.size, state.dtype)
    except BackendUnsupported:
        return False
    return True
