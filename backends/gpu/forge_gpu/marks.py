"""Which layer the device is at: kernels write its number where the host can read it."""

from __future__ import annotations

import struct

import numpy as np

from forge_gpu.flow import AWAITED_BYTES
from forge_gpu.memory import Region, Regions
from forge_gpu.tape import Tape

NOTHING = -2
"""Before anything was marked."""


class Marks:
    """Owns a word in memory that the host sees."""

    def __init__(self, host: Regions, layers: int) -> None:
        self._region: Region = host.region(4)
        self._words = self._region.view(np.int32)
        self._words[0] = NOTHING
        self._layers = layers

    def record(self, tape: Tape, layer: int) -> None:
        """Write the layer's number when what was recorded before is done with.

        It orders nothing: it is written beside the layer's first kernels, after the barrier that
        they wait for.
        """
        waits = tape.recording.flow is not None
        kernel = tape.kernels.get(
            "mark_waiting" if waits else "mark",
            bindings=1 + waits,
            push=4 + AWAITED_BYTES * waits,
            constants=(1, 1, *[1] * waits),
        )
        tape.recording.after_barrier(kernel, [self._region], struct.pack("i", layer))

    def where(self) -> str:
        """The last that the device began, in words."""
        layer = int(self._words[0])
        if layer == NOTHING:
            return ""
        if layer < 0:
            return "what comes before the layers"
        return f"layer {layer}" if layer < self._layers else "what comes after the layers"
