"""Device memory: a few large hipMalloc allocations, cut up here.

A driver that hangs in the field does so at the n-th small allocation, so there are no small ones:
how many arenas a model takes does not depend on how many tensors it has.
"""

from __future__ import annotations

import os
from bisect import insort
from dataclasses import dataclass, field

from forge.backend import BackendOutOfMemory
from forge_hip.runtime.arenas import Arenas
from forge_hip.runtime.driver import Driver
from forge_hip.runtime.pinned import MAPPED_COHERENT, Pinned
from forge_hip.runtime.regions import Region, rounded

__all__ = ["Arena", "Arenas", "Counts", "Pinned", "Pool", "Region"]

SMALL = 64 << 20
"""Bytes of an arena at least: graphs of one node share one with whatever else is small."""
SEPARATE = "FORGE_HIP_SEPARATE"
"""Set to 1, each region is an allocation of its own: for finding writes past an end."""


class Arena:
    """Owns one hipMalloc, and knows what of it is free."""

    def __init__(self, driver: Driver, size: int) -> None:
        self._driver, self.size = driver, size
        self.address = int(driver.call("hipMalloc", size) or 0)
        self._free: list[tuple[int, int]] = [(0, size)]

    @property
    def idle(self) -> bool:
        """Whether nothing of it is in use."""
        return self._free == [(0, self.size)]

    def take(self, size: int) -> int | None:
        """The address of so many bytes, from the smallest gap that has them; None without one."""
        fitting = [gap for gap in self._free if gap[1] >= size]
        if not fitting:
            return None
        start, room = gap = min(fitting, key=lambda one: one[1])
        self._free.remove(gap)
        if room > size:
            insort(self._free, (start + size, room - size))
        return self.address + start

    def give(self, address: int, size: int) -> None:
        """They are free again, joined with what is free beside them."""
        insort(self._free, (address - self.address, size))
        joined: list[tuple[int, int]] = []
        for start, room in self._free:
            if joined and sum(joined[-1]) == start:
                joined[-1] = joined[-1][0], joined[-1][1] + room
            else:
                joined.append((start, room))
        self._free = joined

    def close(self) -> None:
        """hipFree; the driver waits for the device then, so the stream must be idle."""
        address, self.address = self.address, 0
        if address and not self._driver.lost:
            self._driver.call("hipFree", address)


@dataclass(slots=True)
class Counts:
    """What was asked of the driver, for looking at."""

    allocations: int = 0
    pinned: int = 0
    most_bytes: int = 0


@dataclass(slots=True)
class Pool:
    """Owns the arenas of a device. BackendOutOfMemory says how much was wanted.

    `allocation_bytes` is the most of one hipMalloc.
    """

    driver: Driver
    name: str = "the device"
    small: int = SMALL
    allocation_bytes: int = 1 << 62
    counts: Counts = field(default_factory=Counts)
    _arenas: list[Arena] = field(default_factory=list[Arena])
    _separate: bool = field(default_factory=lambda: os.environ.get(SEPARATE) == "1")

    @property
    def arenas(self) -> int:
        """How many allocations are held."""
        return len(self._arenas)

    @property
    def separate(self) -> bool:
        """Whether each region is an allocation of its own."""
        return self._separate

    def take(self, size: int) -> Region:
        """So many bytes, of unknown contents; more than one allocation holds raises ValueError."""
        room = rounded(size)
        if room > self.allocation_bytes:
            raise ValueError(f"{room} bytes in one piece, of at most {self.allocation_bytes}")
        for arena in () if self._separate else self._arenas:
            if (address := arena.take(room)) is not None:
                return Region(address, room)
        arena = self._new(room if self._separate else max(room, self.small))
        return Region(arena.take(room) or 0, room)

    def give(self, region: Region) -> None:
        """Give it back; an arena that only it was in, and that was made for it, is the driver's.

        Nothing that the device still works on may be given back.
        """
        for arena in self._arenas:
            if arena.address <= region.address < arena.address + arena.size:
                arena.give(region.address, region.size)
                if arena.idle and (self._separate or arena.size > self.small):
                    self._arenas.remove(arena)
                    arena.close()
                return
        raise ValueError("a region that is none of this pool's")

    def pinned(self, size: int, flags: int = MAPPED_COHERENT) -> Pinned:
        """Host memory that the device reaches, page-locked: one hipHostMalloc."""
        self.counts.pinned += 1
        return Pinned(self.driver, rounded(size), flags)

    def close(self) -> None:
        """Give all of it back; where the device is lost, the process's end does."""
        while self._arenas:
            self._arenas.pop().close()

    def _new(self, size: int) -> Arena:
        try:
            arena = Arena(self.driver, size)
        except BackendOutOfMemory as error:
            raise BackendOutOfMemory(
                f"{self.name} has no room for {size / 2**20:.0f} MiB more ({error})"
            ) from None
        self._arenas.append(arena)
        self.counts.allocations += 1
        self.counts.most_bytes = max(self.counts.most_bytes, sum(a.size for a in self._arenas))
        return arena
