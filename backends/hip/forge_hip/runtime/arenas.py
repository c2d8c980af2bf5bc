"""Pieces of memory that belong together, and that go back together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forge_hip.runtime.regions import Region, rounded

if TYPE_CHECKING:
    from forge_hip.runtime.pool import Pool


class Arenas:
    """Owns pieces of the pool that belong together, and hands out regions until all go back.

    As forge's GPU backends use them: `device`, or `host` for memory that both sides see.
    """

    def __init__(self, pool: Pool, use: str = "device", step: int = 16 << 20) -> None:
        self._device = use == "device"
        self._heap = pool.device if self._device else pool.host
        self._pool = pool
        # No larger than what several share, or each would be an allocation of its own.
        self._step = min(step, self._heap.small)
        self._pieces: list[Region] = []
        self._used = 0

    @property
    def mapped(self) -> bool:
        """Whether the host sees it."""
        return not self._device

    def region(self, size: int) -> Region:
        """New bytes, of unknown contents."""
        room = rounded(size)
        self._pool.check(size)
        if self._heap.separate:
            self.reserve(room)
        elif not self._pieces or room > self._pieces[-1].size - self._used:
            self.reserve(max(room, self._step))
        made = self._pieces[-1].part(self._used, size)
        self._used += room
        return made

    def reserve(self, size: int) -> None:
        """One piece for what is known to come; what was left of the last one is lost."""
        size = min(rounded(size), self._pool.allocation_bytes)
        self._pieces.append(self._heap.take(size))
        self._used = 0

    def close(self) -> None:
        """Give all of it back."""
        while self._pieces:
            self._heap.give(self._pieces.pop())
