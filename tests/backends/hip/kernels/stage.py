"""The stage and the desk of the Vulkan kernels' tests, with a HIP device under them."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.backends.hip.kernels.device import Arenas, Device, Queue, Tape, features, gpu
from tests.backends.vulkan.desk import CHUNK_TOKENS, Desk
from tests.backends.vulkan.ops.stage import ROOM, Stage

from forge_gpu.memory import Region
from forge_gpu.tape import CHUNK, HEADER, REACH, ROWS, TOKENS


class _Nothing:
    def close(self) -> None:
        """There is nothing to give back."""


class HipStage(Stage):
    """Arrays in pinned memory, kernels of one target."""

    def __init__(self, device: Device) -> None:
        self.device, self.queue, self.gpu = device, Queue(device), gpu(device.arch)
        self._start()

    def _start(self) -> None:
        self.arenas: Any = Arenas(self.device, 8 << 20)
        self.commands: Any = _Nothing()
        self._guards: list[Region] = []
        self.frame = self.room(4 * (HEADER + 4 * ROOM))

    def record(self, write: Any) -> Any:
        return _recorded(self.device, self.frame, write)


class HipDesk(Desk):
    """The same for the tests of products."""

    def __init__(self, device: Device) -> None:
        self.device, self.queue, self.gpu = device, Queue(device), gpu(device.arch)
        self.frame = self._start()

    def _start(self) -> Region:
        self.arenas: Any = Arenas(self.device, 8 << 20)
        self.commands: Any = _Nothing()
        self._guarded: list[Region] = []
        return self.arenas.region(4 * (HEADER + 4 * CHUNK_TOKENS))

    def run(self, count: int, write: Any, ids: Any = None) -> None:
        words = self.frame.view(np.uint32)
        words[TOKENS] = words[ROWS] = words[REACH] = count
        words[CHUNK] = CHUNK_TOKENS
        if ids is not None:
            words[HEADER : HEADER + len(ids)] = ids
        self.queue.run([_recorded(self.device, self.frame, write)])


def _recorded(device: Device, frame: Region, write: Any) -> Any:
    tape = Tape(device, frame, features(device.arch), gpu(device.arch))
    write(tape)
    return tape.launches
