"""Weights through the runtime's pinned ring."""

from __future__ import annotations

from collections.abc import Callable

from forge.backend import Array
from forge_gpu.memory import Region
from forge_hip.memory import Held
from forge_hip.recording import Commands, Recording
from forge_hip.runtime import regions, staging
from forge_hip.runtime.pool import Pool
from forge_hip.runtime.stream import Stream


class Staging:
    """Owns what pieces go through on the device; kernels take each from there."""

    def __init__(self, stream: Stream, memory: Pool, step: int) -> None:
        self._commands = Commands(stream, graphs=False)
        self._staging = staging.Staging(stream, memory, direct=False, step=step)
        self.step = self._staging.step

    def send(self, data: Array, write: Callable[[Recording, Region], None]) -> None:
        """Bring bytes to the start of a region, where `write` has kernels take them."""

        def take(target: regions.Region) -> None:
            recording = self._commands.recording()
            write(recording, Region(Held(target), 0, target.size))
            recording.end().replay()

        self._staging.send(data, take)

    def close(self) -> None:
        """Give it back, once the device has everything."""
        self._staging.close()
