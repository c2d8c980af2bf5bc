"""The pool's memory as forge_gpu's regions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from forge.backend import Array
from forge_gpu.memory import Region
from forge_gpu.workshop import Use
from forge_hip.runtime import arenas, regions
from forge_hip.runtime.pool import Pool


class Held:
    """A piece of the pool's memory as a buffer; `handle` is the pool's region."""

    def __init__(
        self, region: regions.Region, give: Callable[[regions.Region], None] | None = None
    ) -> None:
        self.handle, self.size = region, region.size
        self.mapped: Array = np.zeros(0, np.uint8) if region.memory is None else region.memory
        self._give = give

    def close(self) -> None:
        """Give it back, if it was taken for itself; called once more does nothing."""
        give, self._give = self._give, None
        if give:
            give(self.handle)


def taken(memory: Pool, size: int) -> Held:
    """New bytes of the device's, which `close` gives back."""
    return Held(memory.take(size), memory.give)


def behind(region: Region) -> regions.Region:
    """What the stream takes for a region."""
    found: regions.Region = region.buffer.handle.part(region.offset, region.size)
    return found


class Arenas:
    """Owns memory of one use, and hands out regions of it until all is given back at once."""

    def __init__(self, memory: Pool, use: Use, step: int) -> None:
        self._arenas = arenas.Arenas(memory, "device" if use == "device" else "host", step)

    @property
    def mapped(self) -> bool:
        """Whether the host sees it."""
        return self._arenas.mapped

    def region(self, size: int) -> Region:
        """New bytes, of unknown contents."""
        return Region(Held(self._arenas.region(size)), 0, size)

    def reserve(self, size: int) -> None:
        """One piece for what is known to come; what was left of the last one is lost."""
        self._arenas.reserve(size)

    def close(self) -> None:
        """Give all of it back."""
        self._arenas.close()
