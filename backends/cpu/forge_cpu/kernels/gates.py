"""Gated activations: a curve of the gate, times what it lets through.

Arguments as elementwise has them: a is the gate, b the rest, if any.
"""

from __future__ import annotations

from forge_cpu.kernels import functions
from forge_cpu.kernels.elementwise import by_columns, gated
from forge_cpu.kernels.lanes import Number

_LIMIT = 7.0
"""Of gpt-oss's gate, and of what it lets through (arXiv 2508.10925)."""


def _steep(gate: Number) -> Number:
    return functions.gelu_quick(gate.at_most(_LIMIT))


def _around_one(up: Number) -> Number:
    return up.at_least(-_LIMIT).at_most(_LIMIT) + 1.0


silu_mul = gated(functions.silu)
gelu_mul_tanh = gated(functions.gelu_tanh)
gelu_mul_quick = gated(functions.gelu_quick)
gelu_mul_none = gated(functions.gelu_exact)
swiglu_oai = by_columns(
    lambda gate, _: _steep(gate), lambda gate, up, _: _steep(gate) * _around_one(up)
)
