"""What the kernels' speed is compared with."""

from __future__ import annotations

from numba import njit

from forge_cpu.kernels.kernel import kernel
from forge_cpu.kernels.pointers import i64

_WORDS_PER_LINE = 8


@njit
def _sum(words, first, stop):
    total = 0
    for i in range(first, stop):
        total += words[i]
    return total


@kernel
def read(args, thread, threads):
    """Sum up memory as fast as it comes: (data, bytes, a line of int64 for each thread)."""
    words = args[1] // 8
    total = _sum(i64(args[0]), words * thread // threads, words * (thread + 1) // threads)
    i64(args[2])[_WORDS_PER_LINE * thread] = total
