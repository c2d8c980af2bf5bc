"""Which logits of a row can be drawn: the few that a sampler needs, found by blocks."""

from __future__ import annotations

import numpy as np

from forge.backend import Array, Sampler
from forge_cpu.program import Program

BLOCK = 128
"""Logits whose extremes are found by the threads; Python looks at these alone."""
_INFINITE = 0x7F800000
"""Bits of infinity: above are those of NaN."""
_HUGE = int(np.float32(1e30).view(np.int32))
"""No logit is so large; as integers positive floats order like themselves."""


class Order:
    """Owns the extremes of a row's blocks, int32 [3, blocks]: see forge_cpu.kernels.extremes."""

    def __init__(self, logits: Array) -> None:
        self._logits = logits
        self.extremes = np.zeros((3, -(-len(logits) // BLOCK)), np.int32)

    def add(self, program: Program) -> None:
        """The step that finds them, behind what makes the logits."""
        program.add("extremes.blocks", self._logits, len(self._logits), BLOCK, self.extremes)

    def draw(self, sampler: Sampler, position: int) -> int:
        """The token that the sampler draws from the whole row, which it sees where it must."""
        largest, smallest, sizes = self.extremes
        best, count = largest.max(), sampler.candidates
        strange = sizes.max() > _INFINITE or best >= _HUGE or best == smallest.min()
        if strange or not 0 < count < len(largest):
            return sampler.sample(self._logits.copy(), position)
        if count == 1:
            start = int(largest.argmax()) * BLOCK
            ids = np.array([start + self._logits[start : start + BLOCK].argmax()])
            return sampler.sample_from(ids, self._logits[ids], position)
        # Each of `count` blocks has a logit that is no smaller than this.
        bound = np.partition(largest, len(largest) - count)[len(largest) - count]
        there = np.flatnonzero(largest >= bound)
        ids = (there[:, None] * BLOCK + np.arange(BLOCK)).reshape(-1)
        ids = ids[: len(ids) - max(0, int(ids[-1]) + 1 - len(self._logits))]
        values = self._logits[ids]
        kept = values >= _float(bound)
        ids, values = ids[kept], values[kept]
        if values.min() == values.max():
            return sampler.sample(self._logits.copy(), position)
        return sampler.sample_from(ids, values, position)


def _float(ordered: np.int32) -> np.float32:
    """The float that an ordering integer stands for."""
    bits = ordered ^ ((ordered >> np.int32(31)) & np.int32(0x7FFFFFFF))
    return np.int32(bits).view(np.float32)
