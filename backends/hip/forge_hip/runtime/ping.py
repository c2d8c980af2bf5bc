"""The runtime's own kernel, the smallest there is: it shows that code runs, and marks layers."""

from __future__ import annotations

import struct

import numpy as np

from forge_hip.runtime.compiler import Compiler, Unit
from forge_hip.runtime.launches import Packed
from forge_hip.runtime.pool import Arenas
from forge_hip.runtime.regions import Region
from forge_hip.runtime.stream import Stream

UNIT = Unit(
    "ping",
    """extern "C" __global__ void forge_ping(
    const unsigned* given, volatile unsigned* out, unsigned number) {
  if (threadIdx.x == 0) out[0] = given[0] + number;
}
extern "C" __global__ void forge_mark(volatile unsigned* word, unsigned number) {
  if (threadIdx.x == 0) { word[0] = number; __threadfence_system(); }
}
""",
    entries=("forge_ping", "forge_mark"),
)

NOTHING = -2
"""Before anything was marked."""
_ONE = (1, 1, 1)


class Layers:
    """Owns a word of pinned, coherent memory in which the device says which layer it began.

    As a kernel writes it, a replayed graph does as well. `layers` is how many the model has.
    """

    def __init__(self, compiler: Compiler, stream: Stream, host: Arenas, layers: int) -> None:
        self._mark, self._stream = compiler.function("forge_mark"), stream
        self.region: Region = host.region(4)
        self._word = self.region.view(np.int32)
        self._word[0] = NOTHING
        self._layers = layers

    def record(self, layer: int) -> None:
        """Have the device write the layer's number once what was put on the stream is done."""
        arguments = Packed([self.region], struct.pack("<i", layer))
        self._stream.launch(self._mark, _ONE, _ONE, arguments)

    def where(self) -> str:
        """The last that the device began, in words; "" before anything."""
        layer = int(self._word[0])
        if layer == NOTHING:
            return ""
        if layer < 0:
            return "what comes before the layers"
        return f"layer {layer}" if layer < self._layers else "what comes after the layers"
