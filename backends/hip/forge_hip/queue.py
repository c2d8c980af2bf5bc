"""Recorded work on the one stream, and waits for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from forge_gpu.device import nowhere
from forge_hip.recording import Recorded
from forge_hip.runtime.events import Event
from forge_hip.runtime.stream import Stream


class Queue:
    """Puts recordings on the stream; every wait has the stream's limit."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.where: Callable[[], str] = nowhere
        # Also for calls of the driver that do not return.
        stream.driver.marks.where = lambda: self.where()

    def submit(self, buffers: Sequence[Recorded]) -> Event:
        """Put all of it on the stream; what to wait for."""
        for recorded in buffers:
            recorded.replay()
        return self.stream.event()

    def wait(self, fence: Event) -> None:
        """Until the device came by; BackendHung past the limit, BackendLost from the driver."""
        self.stream.wait(event=fence)
