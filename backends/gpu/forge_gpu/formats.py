"""How each weight type lies on the device: the bytes of its blocks, sorted into planes.

A plane holds the same bytes of every block of a matrix, row after row, and begins at a multiple of
16 bytes, so that a kernel reads codes sixteen bytes at a time and neighbours read neighbours.
Nothing is rounded and no bit changes its place in its byte. shaders/weights.glsl reads them, by the
order of the planes given here; the places within a block are those of ggml-common.h.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

LINE = 16
"""Bytes of the unit in which the places of planes are counted."""


@dataclass(frozen=True, slots=True)
class Plane:
    """Bytes [offset, offset + size) of each block."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Format:
    """Blocks of `columns` weights in `size` bytes, and the planes that they are sorted into."""

    columns: int
    size: int
    planes: tuple[Plane, ...]

    @property
    def quantised(self) -> bool:
        """Whether weights are codes with a scale, and not numbers."""
        return self.columns > 1

    def row_bytes(self, k: int) -> int:
        """Of a row of k columns, in a file."""
        return k // self.columns * self.size

    def layout(self, rows: int, k: int) -> Layout:
        """Where the planes of a matrix of so many rows begin."""
        blocks, starts, end = rows * (k // self.columns), [], 0
        for plane in self.planes:
            starts.append(end // LINE)
            end += -(-blocks * plane.size // LINE) * LINE
        # A kernel reads numbers two words at a time, past the last one of an odd row.
        return Layout((*starts, *[0] * (4 - len(starts))), end if self.quantised else end + LINE)

    def most_rows(self, k: int, size: int) -> int:
        """The most rows whose planes take no more than so many bytes; at least 0."""
        room = size - LINE * (len(self.planes) + 1)
        return max(0, room // self.row_bytes(k))


@dataclass(frozen=True, slots=True)
class Layout:
    """Where four planes begin, in units of 16 bytes, and the bytes of all together."""

    starts: tuple[int, ...]
    size: int


def _format(columns: int, *planes: tuple[int, int]) -> Format:
    return Format(columns, sum(size for _, size in planes), tuple(Plane(*p) for p in planes))


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "f32": _format(1, (0, 4)),
        "f16": _format(1, (0, 2)),
        "bf16": _format(1, (0, 2)),
        "q4_0": _format(32, (0, 2), (2, 16)),
        "q4_1": _format(32, (0, 4), (4, 16)),
        "q5_0": _format(32, (0, 2), (2, 4), (6, 16)),
        "q5_1": _format(32, (0, 4), (4, 4), (8, 16)),
        "q8_0": _format(32, (0, 2), (2, 32)),
        "q2_k": _format(256, (80, 4), (0, 16), (16, 64)),
        "q3_k": _format(256, (108, 2), (96, 12), (0, 32), (32, 64)),
        "q4_k": _format(256, (0, 16), (16, 128)),
        "q5_k": _format(256, (0, 16), (16, 32), (48, 128)),
        "q6_k": _format(256, (208, 2), (192, 16), (0, 128), (128, 64)),
        "iq4_nl": _format(32, (0, 2), (2, 16)),
        "iq4_xs": _format(256, (0, 8), (8, 128)),
        "mxfp4": _format(32, (0, 1), (1, 16)),
    }
)
"""By weight type, those that the kernels read."""
