"""The memory that a graph works in: caches, frames, inputs, results, and room for its steps."""

from __future__ import annotations

import numpy as np

from forge.backend import Op
from forge_gpu.device import Recording
from forge_gpu.frame import Frame
from forge_gpu.kv import state_bytes
from forge_gpu.marks import Marks
from forge_gpu.memory import Region, Regions
from forge_gpu.sections import Shape
from forge_gpu.sizes import Sizes
from forge_gpu.tape import ROWS, TOKENS, Activation


class Workplace:
    """Knows every region of a graph but its weights; owns none of the memory they are in."""

    def __init__(self, sizes: Sizes, device: Regions, upload: Regions, download: Regions) -> None:
        self.sizes, self.plan = sizes, sizes.plan
        self._device, self._upload, self.download = device, upload, download
        graph = sizes.graph
        # What comes after the layers counts as one more: the last that attends is the last.
        last = max((node.layer for node in graph.nodes if node.op is Op.ATTENTION), default=-1)
        self.marks = Marks(download, last + 1)
        self.caches = {name: device.region(state_bytes(s)) for name, s in graph.state.items()}
        self.memory = device.region(sizes.memory)
        self.one, self.many = (Frame(device, upload, n) for n in (1, sizes.chunk))
        self.inputs: dict[str, Region] = {}
        self.kept: dict[str, Region] = {}
        self.results: dict[str, Region] = {}
        for name, size in sizes.kept.items():
            self.kept[name] = device.region(size)
            if name in graph.inputs:
                self.inputs[name] = self._staged(upload, self.kept[name])
            if name in graph.outputs:
                self.results[name] = self._staged(download, self.kept[name])
        self._rooms: dict[object, Region] = {}
        self._tables: dict[tuple[float, ...], tuple[Region, Region]] = {}

    def activations(self, shape: Shape) -> dict[str, Activation]:
        """Values that outlive a section; those of tokens have room for the longest run."""
        made: dict[str, Activation] = {}
        for name, region in self.kept.items():
            rows = self.plan.of_rows(name)
            most = shape.most if rows is shape.rows else self.sizes.chunk
            counter = ROWS if rows else TOKENS
            made[name] = Activation(region, self.plan.width(name), counter, most)
        return made

    def room(self, key: object, size: int) -> Region:
        """Memory of a step's own, which steps of one key share; who needs most asks first."""
        held = self._rooms.get(key)
        if held is None or held.size < size:
            held = self._rooms[key] = self._device.region(size)
        return held.part(0, size)

    def table(self, numbers: tuple[float, ...]) -> Region:
        """Float32 numbers on the device, which never change; there once `first` has run."""
        if numbers not in self._tables:
            region = self._device.region(4 * len(numbers))
            source = self._staged(self._upload, region)
            source.view(np.float32)[: len(numbers)] = np.array(numbers, np.float32)
            self._tables[numbers] = source, region
        return self._tables[numbers][1]

    def cache(self, name: str) -> Region:
        """Of a state."""
        return self.caches[name]

    def first(self, recording: Recording) -> None:
        """What has to happen before anything else: zeros where kernels may look, and tables."""
        for region in (*self.caches.values(), *self._rooms.values()):
            recording.fill(region)
        for source, region in self._tables.values():
            if source is not region:
                recording.copy(source, region)

    def _staged(self, arenas: Regions, region: Region) -> Region:
        return region if self._device.mapped else arenas.region(region.size)
