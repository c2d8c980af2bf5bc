"""Bytes on their way to the device and back: one ring of pinned memory, and a bounded one.

The driver is never given a page of a mapped file: with those, uploads of large models stall
(ROCm#6582, llama.cpp#15018). While the device works on one piece, the host copies into the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from forge.backend import Array
from forge_gpu.filling import Filling
from forge_hip.runtime.pinned import Pinned
from forge_hip.runtime.pool import Arenas, Pool
from forge_hip.runtime.regions import ALIGNMENT, Region

if TYPE_CHECKING:
    from forge_hip.runtime.stream import Event, Stream

STEP = 16 << 20
"""Bytes of a piece."""
PIECES = 3


class Ring:
    """Owns the pinned memory, one hipHostMalloc, and the threads that fill it."""

    def __init__(self, stream: Stream, step: int = STEP) -> None:
        self._stream, self.step = stream, step
        self._room = step + ALIGNMENT  # a kernel may read a word past the last one
        self._memory = Pinned(stream.driver, PIECES * self._room)
        self._filling = Filling()
        self._events: list[Event | None] = [None] * PIECES
        self._next = 0

    def take(self) -> tuple[int, Region]:
        """The next piece, which the device is done with; pass its number to `used`."""
        index, self._next = self._next, (self._next + 1) % PIECES
        self._finish(index)
        return index, self._memory.whole.part(index * self._room, self._room)

    def put(self, data: Array) -> tuple[int, Region]:
        """The next piece, which begins with these bytes, `step` at most."""
        index, piece = self.take()
        self._filling.fill(piece.view(), data)
        return index, piece

    def used(self, index: int) -> None:
        """All that reads or writes the piece is on the stream."""
        self._events[index] = self._stream.event()

    def finish(self) -> None:
        """Wait until the device is done with all of them."""
        for index in range(PIECES):
            self._finish(index)

    def close(self) -> None:
        """Give it back; what is under way is waited for, within the stream's limit."""
        self._filling.close()
        if not self._stream.driver.lost:
            self.finish()
        self._memory.close()

    def _finish(self, index: int) -> None:
        event, self._events[index] = self._events[index], None
        if event is not None:
            self._stream.wait(event=event)


class Staging:
    """Sends weights: each piece gets to the device, and kernels make of it what they want.

    A device with memory of its own gets each piece whole first (`direct` False): its kernels would
    fetch the same bytes over the bus once for each plane. Owns memory for that.
    """

    def __init__(self, stream: Stream, pool: Pool, direct: bool, step: int = STEP) -> None:
        self._stream, self._ring = stream, stream.ring
        self.step = min(step, self._ring.step)
        self._device = Arenas(pool)
        room = self.step + ALIGNMENT
        self._targets: list[Region] = []
        if not direct:
            self._device.reserve(PIECES * room)
            self._targets = [self._device.region(room) for _ in range(PIECES)]

    def send(self, data: Array, write: Callable[[Region], None]) -> None:
        """Copy bytes, no more than `step`, and let `write` launch what is done with them.

        They begin the region that `write` is given.
        """
        index, piece = self._ring.put(data)
        target = piece
        if self._targets:
            target = self._targets[index]
            self._stream.copy(piece.part(0, len(data)), target)
        write(target)
        self._ring.used(index)

    def finish(self) -> None:
        """Wait until the device has everything."""
        self._ring.finish()

    def close(self) -> None:
        """Give back what is not the ring's; what is under way is waited for."""
        if not self._stream.driver.lost:
            self.finish()
            self._device.close()
