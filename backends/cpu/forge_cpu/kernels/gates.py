"""Gated activations: a curve of the gate, times what it lets through.

Arguments as elementwise has them: a is the gate, b the rest, if any.
"""

from __future__ import annotations

from forge_cpu.kernels import functions
from forge_cpu.kernels.elementwise import gated

silu_mul = gated(functions.silu)
gelu_mul_tanh = gated(functions.gelu_tanh)
gelu_mul_quick = gated(functions.gelu_quick)
gelu_mul_none = gated(functions.gelu_exact)
