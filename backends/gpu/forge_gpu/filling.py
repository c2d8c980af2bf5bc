"""Copies into memory that a device reads, by several threads."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from forge.backend import Array

_THREADS = min(4, os.cpu_count() or 1)
_WORTH_A_THREAD = 1 << 20


class Filling:
    """Owns the threads."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_THREADS, "forge-staging")

    def fill(self, target: Array, data: Array) -> None:
        """Copy bytes to the beginning of the target; it is done when this returns."""
        share = max(_WORTH_A_THREAD, -(-len(data) // _THREADS))
        starts = range(0, len(data), share)

        def copy(start: int) -> None:
            piece = data[start : start + share]
            np.copyto(target[start : start + len(piece)], piece)

        if len(starts) == 1:
            copy(0)
        else:
            # Numpy copies without the interpreter's lock. The loop waits for all, and for errors.
            for _ in self._threads.map(copy, starts):
                pass

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown()
