"""Large allocations of one kind, cut up here, so that the driver is asked for few."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from forge_hip.runtime.driver import Driver
from forge_hip.runtime.regions import Region, rounded


class Allocation(Protocol):
    """What the driver gave at once, and takes back at once."""

    @property
    def whole(self) -> Region:
        """All of it."""

    def close(self) -> None:
        """Give it back."""


class DeviceMemory:
    """Owns one hipMalloc."""

    def __init__(self, driver: Driver, size: int) -> None:
        self._driver = driver
        self._address = int(driver.call("hipMalloc", size) or 0)
        self.whole = Region(self._address, size)

    def close(self) -> None:
        """hipFree; the driver waits for the device then, so the stream must be idle."""
        address, self._address = self._address, 0
        if address and not self._driver.lost:
            self._driver.call("hipFree", address)


class Arena:
    """Owns one allocation, and knows what of it is free."""

    def __init__(self, allocation: Allocation) -> None:
        self._allocation = allocation
        self.whole = allocation.whole
        self._free: list[tuple[int, int]] = [(0, self.whole.size)]

    @property
    def idle(self) -> bool:
        """Whether nothing of it is in use."""
        return self._free == [(0, self.whole.size)]

    def take(self, size: int) -> Region | None:
        """So many bytes of the smallest gap that has them; None without one."""
        fitting = [gap for gap in self._free if gap[1] >= size]
        if not fitting:
            return None
        start, room = gap = min(fitting, key=lambda one: one[1])
        self._free.remove(gap)
        if room > size:
            insort(self._free, (start + size, room - size))
        return self.whole.part(start, size)

    def give(self, region: Region) -> None:
        """It is free again, joined with what is free beside it."""
        insort(self._free, (region.address - self.whole.address, region.size))
        joined: list[tuple[int, int]] = []
        for start, room in self._free:
            if joined and sum(joined[-1]) == start:
                joined[-1] = joined[-1][0], joined[-1][1] + room
            else:
                joined.append((start, room))
        self._free = joined

    def close(self) -> None:
        """Give the allocation back."""
        self._allocation.close()


@dataclass(slots=True)
class Heap:
    """Owns arenas of one kind, of `small` bytes at least, or of one region each if `separate`.

    `made` counts allocations, `most` the bytes that were held at one time.
    """

    allocate: Callable[[int], Allocation]
    small: int
    separate: bool = False
    made: int = 0
    most: int = 0
    arenas: list[Arena] = field(default_factory=list[Arena])

    def take(self, size: int) -> Region:
        """So many bytes, of unknown contents."""
        room = rounded(size)
        for arena in () if self.separate else self.arenas:
            if (found := arena.take(room)) is not None:
                return found
        arena = Arena(self.allocate(room if self.separate else max(room, self.small)))
        self.arenas.append(arena)
        self.made += 1
        self.most = max(self.most, sum(one.whole.size for one in self.arenas))
        return arena.take(room) or arena.whole

    def give(self, region: Region) -> None:
        """Take it back; an arena that was made for it alone is the driver's again.

        Nothing that the device still works on may be given back.
        """
        for arena in self.arenas:
            if arena.whole.meets(region):
                arena.give(region)
                if arena.idle and (self.separate or arena.whole.size > self.small):
                    self.arenas.remove(arena)
                    arena.close()
                return
        raise ValueError("a region that is none of this pool's")

    def close(self) -> None:
        """Give all of it back."""
        while self.arenas:
            self.arenas.pop().close()
