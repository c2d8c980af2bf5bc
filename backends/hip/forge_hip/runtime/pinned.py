"""Host memory that the device reaches: page-locked, and seen by both while they run."""

from __future__ import annotations

import ctypes

import numpy as np

from forge_hip.runtime.driver import Driver
from forge_hip.runtime.regions import Region

MAPPED_COHERENT = 0x2 | 0x40000000
"""hipHostMallocMapped | hipHostMallocCoherent: the host sees a kernel's writes while it runs."""


class Pinned:
    """Owns one hipHostMalloc."""

    def __init__(self, driver: Driver, size: int, flags: int = MAPPED_COHERENT) -> None:
        self._driver = driver
        self._host = int(driver.call("hipHostMalloc", size, flags) or 0)
        shown = driver.tried("hipHostGetDevicePointer", self._host, 0)
        array = (ctypes.c_uint8 * size).from_address(self._host)
        # On Linux both addresses are one; a driver that has two is believed.
        self.whole = Region(
            int(shown or self._host), size, np.frombuffer(memoryview(array), np.uint8)
        )

    def close(self) -> None:
        """Give it back; no view of it may be used any more."""
        host, self._host = self._host, 0
        if host and not self._driver.lost:
            self._driver.call("hipHostFree", host)
