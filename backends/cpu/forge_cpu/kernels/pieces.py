"""Work that threads take piece by piece, so that a slow one holds up no other."""

from __future__ import annotations

from numba import njit

from forge_cpu.kernels.atomics import atomic_add, atomic_store


@njit
def take_piece(counter, count, threads):
    """The next piece's number; `count` or more when there is none left.

    Each thread must ask until it is told so, once: the last to be told sets the int64 at `counter`
    back to the 0 that it must begin with.
    """
    piece = atomic_add(counter, 1)
    if piece == count + threads - 1:
        atomic_store(counter, 0)
    return piece
