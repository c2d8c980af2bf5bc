"""Device memory as steps see it: a few large buffers, and regions of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from forge.backend import Array

ALIGNMENT = 256
"""Of a region: no driver asks for more of a storage buffer's offset."""


class Buffer(Protocol):
    """One allocation; `handle` is the driver's, `mapped` what the host sees of it."""

    size: int
    handle: Any
    mapped: Array

    def close(self) -> None:
        """Give it back; called once more does nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A part of a buffer: what a binding covers. Offsets and sizes are in bytes."""

    buffer: Buffer
    offset: int
    size: int

    def part(self, offset: int, size: int) -> Region:
        """A part of this part."""
        if offset < 0 or offset + size > self.size:
            raise ValueError(f"bytes {offset}..{offset + size} of a region of {self.size}")
        return Region(self.buffer, self.offset + offset, size)

    def meets(self, other: Region) -> bool:
        """Whether both have a byte in common."""
        return (
            self.buffer is other.buffer
            and self.offset < other.offset + other.size
            and other.offset < self.offset + self.size
        )

    def view(self, kind: Any = np.uint8) -> Array:
        """As the host sees it, in memory that is mapped."""
        whole: Array = self.buffer.mapped[self.offset : self.offset + self.size]
        return whole.view(kind)


class Regions(Protocol):
    """Hands out regions: arenas, or a rehearsal's nowhere."""

    @property
    def mapped(self) -> bool:
        """Whether the host sees them."""

    def region(self, size: int) -> Region:
        """New bytes, of unknown contents."""


class Arenas(Regions, Protocol):
    """Owns buffers of one use, until all are given back at once."""

    def reserve(self, size: int) -> None:
        """One allocation for what is known to come; what was left of the last one is lost."""

    def close(self) -> None:
        """Give all of it back."""
