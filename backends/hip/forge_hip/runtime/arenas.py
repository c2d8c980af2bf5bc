"""Pieces of memory that belong together, and that go back together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forge_hip.runtime.pinned import Pinned
from forge_hip.runtime.regions import Region, rounded

if TYPE_CHECKING:
    from forge_hip.runtime.pool import Pool


class Arenas:
    """Owns pieces of the pool that belong together, and hands out regions until all go back.

    As forge's GPU backends use them: `device`, or `host` for memory that both sides see.
    """

    def __init__(self, pool: Pool, use: str = "device", step: int = 16 << 20) -> None:
        self._pool, self._device = pool, use == "device"
        # No larger than what several share, or each would be an allocation of its own.
        self._step = min(step, pool.small, pool.allocation_bytes)
        self._pieces: list[Region] = []
        self._pinned: list[Pinned] = []
        self._piece, self._used = Region(0, 0), 0

    @property
    def mapped(self) -> bool:
        """Whether the host sees it."""
        return not self._device

    def region(self, size: int) -> Region:
        """New bytes, of unknown contents."""
        room = rounded(size)
        if self._pool.separate and self._device:
            self.reserve(room)
        elif room > self._piece.size - self._used:
            self.reserve(max(room, self._step))
        made = self._piece.part(self._used, size)
        self._used += room
        return made

    def reserve(self, size: int) -> None:
        """One piece for what is known to come; what was left of the last one is lost."""
        size = min(rounded(size), self._pool.allocation_bytes)
        if self._device:
            self._pieces.append(self._pool.take(size))
            self._piece = self._pieces[-1]
        else:
            self._pinned.append(self._pool.pinned(size))
            self._piece = self._pinned[-1].whole
        self._used = 0

    def close(self) -> None:
        """Give all of it back."""
        self._piece, self._used = Region(0, 0), 0
        while self._pieces:
            self._pool.give(self._pieces.pop())
        while self._pinned:
            self._pinned.pop().close()
