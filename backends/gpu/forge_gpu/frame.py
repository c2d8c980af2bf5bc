"""What changes from run to run: how many tokens, which, where, and whose outputs are wanted."""

from __future__ import annotations

import numpy as np

from forge.backend import Array
from forge_gpu.device import Recording
from forge_gpu.memory import Region, Regions
from forge_gpu.tape import CHUNK, FIELDS, HEADER, REACH, ROWS, TOKENS


class Frame:
    """Owns the words that kernels read, for runs of up to `chunk` tokens; layout: common.glsl."""

    def __init__(self, device: Regions, host: Regions, chunk: int) -> None:
        self.chunk = chunk
        size = 4 * (HEADER + len(FIELDS) * chunk)
        self.region: Region = device.region(size)
        self._host = self.region if device.mapped else host.region(size)
        self._words = self._host.view(np.int32)
        self._words[:] = 0
        self._words[CHUNK] = chunk

    def set(self, **fields: Array) -> None:
        """Those of a run; `rows` are the indices of the tokens whose outputs are wanted."""
        positions, rows = fields["positions"], fields["rows"]
        words = self._words
        words[TOKENS], words[ROWS] = len(positions), len(rows)
        words[REACH] = int(positions.max()) + 1 if len(positions) else 0
        for index, name in enumerate(FIELDS):
            values = fields.get(name)
            if values is not None:
                start = HEADER + index * self.chunk
                words[start : start + len(values)] = values

    def record(self, recording: Recording) -> None:
        """Bring them to the device, where that is another place."""
        if self._host is not self.region:
            recording.copy(self._host, self.region)

    def word(self, name: str) -> int:
        """Where a field begins, in words."""
        return HEADER + FIELDS.index(name) * self.chunk
