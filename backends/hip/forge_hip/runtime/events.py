"""Places in the stream, which can be asked whether the device came by."""

from __future__ import annotations

from forge_hip.runtime.driver import Driver

_NO_TIMING = 0x2  # hipEventDisableTiming


class Event:
    """Owns a place in the stream: what was put before it is done once it `reached`."""

    def __init__(self, driver: Driver, timing: bool = False) -> None:
        self._driver = driver
        self.handle = driver.call("hipEventCreateWithFlags", 0 if timing else _NO_TIMING)

    def reached(self) -> bool:
        """Whether the device came by; BackendLost and others from what went before."""
        return self._driver.finished("hipEventQuery", self.handle)

    def seconds_since(self, earlier: Event) -> float:
        """On the device, between two events made with `timing` that it has reached."""
        return float(self._driver.call("hipEventElapsedTime", earlier.handle, self.handle)) / 1e3

    def close(self) -> None:
        """Give it back."""
        handle, self.handle = self.handle, None
        if handle is not None and not self._driver.lost:
            self._driver.call("hipEventDestroy", handle)
