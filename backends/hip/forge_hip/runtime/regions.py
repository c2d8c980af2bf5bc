"""Regions: bytes that kernels and copies reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from forge.backend import Array

ALIGNMENT = 256
"""Of a region: what hipMalloc aligns to, and more than any vector load asks for."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """Bytes that kernels and copies reach: an address of the device's, and a size in bytes.

    `memory` is the host's view of pinned memory, None where the host does not see it.
    """

    address: int
    size: int
    memory: Array | None = None

    @property
    def pinned(self) -> bool:
        """Whether it is the host's memory, made by hipHostMalloc."""
        return self.memory is not None

    def part(self, offset: int, size: int) -> Region:
        """A part of this part."""
        if offset < 0 or size < 0 or offset + size > self.size:
            raise ValueError(f"bytes {offset}..{offset + size} of a region of {self.size}")
        memory = None if self.memory is None else self.memory[offset : offset + size]
        return Region(self.address + offset, size, memory)

    def meets(self, other: Region) -> bool:
        """Whether both have a byte in common."""
        end, other_end = self.address + self.size, other.address + other.size
        return self.address < other_end and other.address < end

    def view(self, kind: Any = np.uint8) -> Array:
        """As the host sees it; ValueError where it does not."""
        if self.memory is None:
            raise ValueError("the host does not see the device's memory")
        size = self.size // np.dtype(kind).itemsize * np.dtype(kind).itemsize
        seen: Array = self.memory[:size].view(kind)
        return seen


def rounded(size: int) -> int:
    """Bytes that a region of so many takes."""
    return -(-max(4, size) // ALIGNMENT) * ALIGNMENT
