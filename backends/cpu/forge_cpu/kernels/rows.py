"""Whole rows, copied: which of them, a list of indices says."""

from __future__ import annotations

import numpy as np

from forge_cpu.kernels.kernel import kernel
from forge_cpu.kernels.loops import each
from forge_cpu.kernels.pointers import i32, i64

_copy = each(lambda x, _: x, 1)


@kernel
def select_rows(args, thread, threads):
    """out[i] = x[rows[i]]: (count, rows as i32, columns, x, x stride, out, out stride)."""
    count, rows, columns = i64(args[0])[0], i32(args[1]), args[2]
    for i in range(count * thread // threads, count * (thread + 1) // threads):
        source = args[3] + 4 * rows[i] * args[4]
        _copy(args[5] + 4 * i * args[6], columns, source, 0, 0, np.float32(0))
