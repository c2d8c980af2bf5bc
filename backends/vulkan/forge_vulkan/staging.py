"""Bytes on their way to the device: a ring of pieces of host memory, a bounded one.

While the device works on one piece, the host copies into the next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forge.backend import Array
from forge_gpu.filling import Filling
from forge_gpu.memory import Region
from forge_vulkan.runtime.device import Gpu
from forge_vulkan.runtime.memory import Buffer
from forge_vulkan.runtime.recording import Commands, Recording
from forge_vulkan.runtime.submission import Queue

STEP = 32 << 20
"""Bytes of a piece."""
_PIECES = 3
_SLACK = 16
"""A kernel reads a word past the last one."""


class Staging:
    """Owns the ring, the threads that fill it, and what is recorded to empty it.

    A device with memory of its own gets each piece whole first (`direct` False): its kernels would
    fetch the same bytes over the bus once for each plane.
    """

    def __init__(self, gpu: Gpu, queue: Queue, direct: bool, step: int = STEP) -> None:
        self.gpu, self.step = gpu, step
        self._queue, self._commands = queue, Commands(gpu)
        self._filling = Filling()
        self._buffers: list[Buffer] = []
        self._fences: list[Any] = [None] * _PIECES
        self._next = 0
        try:
            self._hosts = [self._buffer("upload") for _ in range(_PIECES)]
            self._devices = (
                self._hosts if direct else [self._buffer("device") for _ in range(_PIECES)]
            )
        except BaseException:
            self.close()
            raise

    def _buffer(self, use: str) -> Region:
        self._buffers.append(Buffer(self.gpu, self.step + _SLACK, use))
        return self._buffers[-1].whole

    def send(self, data: Array, write: Callable[[Recording, Region], None]) -> None:
        """Copy bytes, no more than `step`, and let `write` record what the device does with them.

        They begin the region that `write` is given.
        """
        index, self._next = self._next, (self._next + 1) % _PIECES
        self._finish(index)
        host, device = self._hosts[index], self._devices[index]
        self._filling.fill(host.view(), data)
        recording = Recording(self._commands)
        if device is not host:
            recording.copy(host.part(0, len(data)), device.part(0, len(data)))
        write(recording, device)
        self._fences[index] = self._queue.submit([recording.end()])

    def finish(self) -> None:
        """Wait until the device has everything."""
        for index in range(_PIECES):
            self._finish(index)

    def _finish(self, index: int) -> None:
        fence, self._fences[index] = self._fences[index], None
        if fence is not None:
            self._queue.wait(fence)

    def close(self) -> None:
        """Give all of it back; what is under way is waited for, within the queue's limit."""
        self._filling.close()
        self.finish()
        self._commands.close()
        for buffer in self._buffers:
            buffer.close()
        self._buffers.clear()
