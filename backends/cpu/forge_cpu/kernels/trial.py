"""Three small kernels that show what a program is; the crew's own check runs them."""

from __future__ import annotations

from forge_cpu.kernels.kernel import kernel
from forge_cpu.kernels.pointers import f32, float_of


@kernel
def fill(args, thread, threads):
    """out[i] = value: (out, n, value as float)."""
    out, n, value = f32(args[0]), args[1], float_of(args[2])
    for i in range(thread, n, threads):
        out[i] = value


@kernel
def add_shifted(args, thread, threads):
    """out[i] += other[n - 1 - i]: (out, other, n); reads what other threads wrote."""
    out, other, n = f32(args[0]), f32(args[1]), args[2]
    for i in range(thread, n, threads):
        out[i] += other[n - 1 - i]


@kernel
def total(args, thread, threads):
    """out[0] += the sum: (out, values, n); the work of one thread."""
    if thread == 0:
        out, values = f32(args[0]), f32(args[1])
        for i in range(args[2]):
            out[0] += values[i]
