"""Kernels that wait for each other by counters instead of barriers: shaders/flow.glsl."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from forge_gpu.memory import Region

_APART = 8
"""Words from counter to counter: each in a sector of its own."""
_LEVELS = 2048
FLOW_BYTES = 4 * _APART * _LEVELS
"""Of the counters; zero when a recording begins."""
AWAITED_BYTES = 12
"""At the end of the push constants of a kernel that can wait."""
NOTHING_AWAITED = bytes(AWAITED_BYTES)


class Flow:
    """The levels of a recording: a kernel waits for all work groups of the level before its own.

    They waited for theirs, so whatever is two levels or more apart is in order too. Caches are not
    invalidated in between: what was read may not be written before the next barrier.
    """

    def __init__(self, region: Region) -> None:
        self.region = region
        self.level, self._groups = 0, 0
        self._before = 0, 0  # its counter, its work groups
        self._written: list[Region] = []
        self._read: list[Region] = []
        self._cached: set[tuple[int, int]] = set()

    @property
    def full(self) -> bool:
        """Whether there is no counter for another level: from here on barriers part them."""
        return self.level + 1 == _LEVELS

    def meets(self, writes: Sequence[Region], reads: Sequence[Region]) -> bool:
        """Whether this has to wait for something of the level."""
        return meet(writes, reads, self._written, self._read)

    def stale(self, writes: Sequence[Region]) -> bool:
        """Whether caches may hold what this writes."""
        return any(_place(region) in self._cached for region in writes)

    def rise(self) -> None:
        """What follows waits for the level as it is now."""
        self._before = _APART * self.level, self._groups
        self._start()

    def forget(self) -> None:
        """What follows waits for nothing: there was a barrier."""
        self._before = 0, 0
        self._cached.clear()
        if self._groups:
            self._start()

    def _start(self) -> None:
        self.level, self._groups = min(self.level + 1, _LEVELS - 1), 0
        self._written, self._read = [], []

    def add(self, groups: int, writes: Sequence[Region], reads: Sequence[Region]) -> None:
        """A kernel of so many work groups, in this level."""
        self._groups += groups
        self._written += writes
        self._read += reads
        self._cached.update(map(_place, reads))

    def awaited(self) -> bytes:
        """For the push constants of a kernel of this level."""
        return struct.pack("3I", *self._before, _APART * self.level)


def _place(region: Region) -> tuple[int, int]:
    return id(region.buffer), region.offset


def meet(
    writes: Sequence[Region],
    reads: Sequence[Region],
    written: Sequence[Region],
    read: Sequence[Region],
) -> bool:
    """Whether the one touches what the other wrote, or writes what the other read."""
    return any(a.meets(b) for a in (*writes, *reads) for b in written) or any(
        a.meets(b) for a in writes for b in read
    )
