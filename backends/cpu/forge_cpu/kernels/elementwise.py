"""Ops on single numbers: sums, products, gates and caps, split over rows and blocks of columns.

All take (tokens, columns, out, out stride, a, a stride, b, b stride, constant): addresses, strides
in numbers, a float. A stride of 0 makes b one row for all tokens; an address of 0 means no b.
"""

from __future__ import annotations

from numba import njit

from forge_cpu.kernels import functions
from forge_cpu.kernels.kernel import Kernel, kernel
from forge_cpu.kernels.lanes import Number
from forge_cpu.kernels.loops import Curve, each
from forge_cpu.kernels.pointers import float_of, i64

_COLUMNS = 512
"""Columns of a task: some 100 ns."""


def by_columns(one: Curve, two: Curve) -> Kernel:
    """A kernel for a curve of a and the constant, and one of a, b and the constant."""
    alone, both = each(one, 1), each(two, 2)

    @njit(inline="always")
    def apply(args, out, count, a, b, number):
        if args[6] == 0:
            alone(out, count, a, 0, 0, number)
        else:
            both(out, count, a, b, 0, number)

    def run(args, thread, threads):
        tokens, columns, number = i64(args[0])[0], args[1], float_of(args[8])
        blocks = (columns + _COLUMNS - 1) // _COLUMNS
        tasks = tokens * blocks
        for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
            token, start = task // blocks, task % blocks * _COLUMNS
            count = columns - start
            if count > _COLUMNS:
                count = _COLUMNS
            apply(
                args,
                args[2] + 4 * (token * args[3] + start),
                count,
                args[4] + 4 * (token * args[5] + start),
                args[6] + 4 * (token * args[7] + start),
                number,
            )

    found: Kernel = kernel(run)
    return found


def gated(curve: Curve) -> Kernel:
    """A kernel for a curve of a, times b where there is one."""
    return by_columns(lambda x, _: curve(x), lambda x, up, _: curve(x) * up)


def _softcap(x: Number, cap: Number) -> Number:
    return functions.tanh(x / cap) * cap


add = by_columns(lambda a, _: a, lambda a, b, _: a + b)
mul = by_columns(lambda a, _: a, lambda a, b, _: a * b)
scale = by_columns(lambda a, factor: a * factor, lambda a, _, factor: a * factor)
softcap = by_columns(_softcap, lambda x, _, cap: _softcap(x, cap))
