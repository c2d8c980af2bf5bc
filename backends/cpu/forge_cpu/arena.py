"""Memory for weights: one stretch of huge pages, so that few addresses must be looked up."""

from __future__ import annotations

import mmap
from contextlib import suppress

import numpy as np

from forge.backend import Array
from forge_cpu.formats import LINE

_HUGE = 2 << 20


class Arena:
    """Hands out its bytes from first to last; pages exist once they are written."""

    def __init__(self, size: int) -> None:
        pages = mmap.mmap(-1, size + 2 * _HUGE)
        whole = np.frombuffer(pages, np.uint8)
        start = -whole.ctypes.data % _HUGE
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with suppress(OSError):  # a kernel without huge pages
                pages.madvise(mmap.MADV_HUGEPAGE)
        self._bytes = whole[start : start + size]
        self._taken = 0

    def take(self, count: int) -> Array:
        """The next bytes, from a cache line on."""
        start, self._taken = self._taken, self._taken + arena_bytes(count)
        if start + count > len(self._bytes):
            raise ValueError(f"{count} bytes of {len(self._bytes) - start}")
        return self._bytes[start : start + count]


def arena_bytes(count: int) -> int:
    """What an arena needs for so many bytes: whole cache lines."""
    return -(-count // LINE) * LINE
