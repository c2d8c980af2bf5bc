"""The memory of a device, and of the host where the device reaches it.

A driver that hangs in the field does so at the n-th small allocation, so there are no small ones:
how many a model takes does not depend on how many tensors it has.
"""

from __future__ import annotations

import os

from forge.backend import BackendOutOfMemory
from forge_hip.runtime.arenas import Arenas
from forge_hip.runtime.driver import Driver
from forge_hip.runtime.heap import DeviceMemory, Heap
from forge_hip.runtime.pinned import Pinned
from forge_hip.runtime.regions import Region, rounded

__all__ = ["Arenas", "Pool", "Region"]

SMALL = 64 << 20
"""Bytes of a device's arena at least: graphs of one node share one with whatever else is small."""
SMALL_PINNED = 8 << 20
SHARE = 3, 4
"""Of a device's memory in one allocation. Some releases of HIP refuse more than 85 %, and on an APU
with little memory of its own more than 75 % (GPU_SINGLE_ALLOC_PERCENT, ROCclr's rocdevice.cpp)."""
SEPARATE = "FORGE_HIP_SEPARATE"
"""Set to 1, each region is an allocation of its own: for finding writes past an end."""


class Pool:
    """Owns the arenas, `device` and `host`. BackendOutOfMemory says how much was wanted.

    `allocation_bytes` is the most of one hipMalloc.
    """

    def __init__(
        self,
        driver: Driver,
        name: str = "the device",
        small: int = SMALL,
        allocation_bytes: int = 1 << 62,
    ) -> None:
        self._driver, self._name = driver, name
        self.allocation_bytes = allocation_bytes
        separate = os.environ.get(SEPARATE) == "1"
        self.device = Heap(self._allocated, min(small, allocation_bytes), separate)
        self.host = Heap(lambda size: Pinned(driver, size), min(small, SMALL_PINNED))

    @property
    def small(self) -> int:
        """Bytes of a device's arena at least."""
        return self.device.small

    @small.setter
    def small(self, size: int) -> None:
        self.device.small = size

    @property
    def arenas(self) -> int:
        """How many allocations of the device's memory are held."""
        return len(self.device.arenas)

    def take(self, size: int) -> Region:
        """So many bytes, of unknown contents, which one allocation has to hold."""
        self.check(size)
        return self.device.take(size)

    def check(self, size: int) -> None:
        """BackendOutOfMemory for what no allocation holds in one piece."""
        if rounded(size) > self.allocation_bytes:
            raise BackendOutOfMemory(
                f"{self._name} gives no {size} bytes in one piece, at most {self.allocation_bytes}"
            )

    def give(self, region: Region) -> None:
        """Take it back. Nothing that the device still works on may be given back."""
        (self.host if region.pinned else self.device).give(region)

    def close(self) -> None:
        """Give all of it back; where the device is lost, the process's end does."""
        self.device.close()
        self.host.close()

    def _allocated(self, size: int) -> DeviceMemory:
        try:
            return DeviceMemory(self._driver, size)
        except BackendOutOfMemory as error:
            raise BackendOutOfMemory(
                f"{self._name} has no room for {size / 2**20:.0f} MiB more ({error})"
            ) from None
