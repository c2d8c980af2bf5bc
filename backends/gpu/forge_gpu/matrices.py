"""Matrices on the device."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from forge_gpu.formats import FORMATS, Format
from forge_gpu.memory import Region


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Rows [first, first + rows) of a matrix: what one binding covers."""

    region: Region
    first: int
    rows: int
    planes: tuple[int, ...]
    """Where four planes begin in the region, in units of 16 bytes."""

    def packed(self) -> bytes:
        """The planes as shaders take them, `Planes` of weights.glsl."""
        return struct.pack("4I", *self.planes)


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A weight [n, k] of GGML's type `kind` in lower case; of experts, all their rows."""

    kind: str
    n: int
    k: int
    parts: tuple[Part, ...]
    experts: int = 1
    """Matrices of n / experts rows, one after another."""

    @property
    def format(self) -> Format:
        """How its bytes lie."""
        return FORMATS[self.kind]

    @property
    def quantised(self) -> bool:
        """Whether weights are codes with scales, not numbers."""
        return self.format.quantised

    @property
    def rows(self) -> int:
        """Of each expert, where there are several."""
        return self.n // self.experts

    @property
    def bytes(self) -> int:
        """What it takes on the device."""
        return sum(part.region.size for part in self.parts)
