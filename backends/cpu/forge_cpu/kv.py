"""The key and value cache of one attention node: how it lies in memory, and what it costs.

Numba is not imported here: the kernels take these numbers from here, not the other way round.
"""

from __future__ import annotations

import math
import mmap
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from forge.backend import Array

GROUP = 16
"""Keys of a group; as many numbers as a vector of the kernels has."""
BLOCK = 32
"""Columns that share a scale in q8_0."""
TILE = 256
"""Keys whose softmax is one; the tiles of a token are merged in order."""
FEW = 8
"""Up to so many tokens of a run are split over their keys, more over the tokens."""
BLOCK_ROWS = 96
"""Rows (query heads of tokens) that share one pass over the keys in a long run."""
HEADER = 16
"""Numbers of a row's record before the sums of its output."""

KIND_BYTES = {"f32": 4, "f16": 2, "q8_0": 1}
"""Bytes of a number of the cache, scales apart."""


@dataclass(frozen=True, slots=True)
class KvLayout:
    """Keys in groups of 16 tokens, column by column; values in rows of whole vectors.

    A head's keys are [groups][size][16], its values [capacity][padded value size], both padded to
    pairs of groups. In q8_0 a group ends with float16 scales [columns / 32][16], a row with one
    for each 32 columns.
    """

    kind: str
    slots: int
    heads: int
    capacity: int
    key_size: int
    value_size: int

    def __post_init__(self) -> None:
        if self.kind not in KIND_BYTES:
            raise ValueError(f"no cache of {self.kind}, known are {', '.join(KIND_BYTES)}")

    @property
    def padded(self) -> int:
        """Tokens that a head has room for."""
        return _up(self.capacity, 2 * GROUP)

    @property
    def value_width(self) -> int:
        """Numbers of a row of values."""
        return _up(self.value_size, GROUP)

    @property
    def group_bytes(self) -> int:
        """Sixteen keys."""
        return GROUP * (self.key_size * KIND_BYTES[self.kind] + self._scales(self.key_size))

    @property
    def row_bytes(self) -> int:
        """One value."""
        return self.value_width * KIND_BYTES[self.kind] + self._scales(self.value_width)

    @property
    def key_bytes(self) -> int:
        """All keys."""
        return self.slots * self.heads * self.padded // GROUP * self.group_bytes

    @property
    def value_bytes(self) -> int:
        """All values."""
        return self.slots * self.heads * self.padded * self.row_bytes

    def _scales(self, columns: int) -> int:
        return 2 * math.ceil(columns / BLOCK) if self.kind == "q8_0" else 0


class KvCache:
    """Owns the memory of a layout; its pages exist once they are written."""

    def __init__(self, layout: KvLayout) -> None:
        self.layout = layout
        self.keys = lazy_bytes(layout.key_bytes)
        self.values = lazy_bytes(layout.value_bytes)


@dataclass(frozen=True, slots=True)
class Attention:
    """The sizes of an attention node, and the memory that its kernels work in."""

    heads: int
    layout: KvLayout

    @property
    def tiles(self) -> int:
        """Of a full context."""
        return math.ceil(self.layout.padded / TILE)

    def scratch(self, threads: int) -> Array:
        """Float32 [threads, n]: limits, queries, scores and records of each thread."""
        layout = self.layout
        group = self.heads // layout.heads
        rows = block_rows(group)
        size = 4 * (_up(rows, GROUP) + GROUP) + _up(rows, 8) * layout.key_size + rows * TILE
        size = _up(size + 2 * rows * (HEADER + layout.value_width), GROUP)
        return lazy_bytes(4 * threads * size).view(np.float32).reshape(threads, size)

    def partials(self) -> Array:
        """Float32 [FEW, heads, tiles, record]: what the threads found in each tile."""
        record = HEADER + self.layout.value_width
        size = 4 * FEW * self.heads * self.tiles * record
        return lazy_bytes(size).view(np.float32).reshape(FEW, self.heads, self.tiles, record)


def block_rows(group: int) -> int:
    """Rows of a block where `group` query heads share a head of keys."""
    return max(1, BLOCK_ROWS // group) * group


def lazy_bytes(size: int) -> Array:
    """Zeros whose pages exist once they are written: a long context costs what it holds.

    Huge pages would give every head 2 MiB for its first token.
    """
    pages = mmap.mmap(-1, max(1, size))
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.uint8)


def _up(value: int, step: int) -> int:
    return -(-value // step) * step
