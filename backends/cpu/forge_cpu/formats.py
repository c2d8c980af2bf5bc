"""How each weight type lies in memory once it is repacked.

Sixteen rows make a group, whose blocks of 32 columns follow one another; a group is one stream from
its first byte to its last. A block holds eight vectors of codes: vector v has four codes, columns
4v to 4v+3, of each row in turn, one byte a code once it is unpacked:

    8-bit codes   512 bytes, vector after vector
    4-bit codes   256 bytes, four chunks; chunk c has vector c in its low nibbles, c + 4 above
    2-bit codes   128 bytes, two chunks; chunk c has vector 4c + i in its bits 2i and 2i + 1
    higher bits   of 5-bit codes 64 bytes with vector v in bit v; of 6-bit codes as 2-bit codes

A super-block is `blocks` blocks of codes, then their scales (and minima), 16 rows side by side,
then the super-block's own factors in half precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

ROWS = 16
"""Rows of a group."""
BLOCK = 32
"""Columns of a block, for weights and activations."""
LINE = 64
"""Bytes of a block of quantised activations: 32 codes and 8 words about them."""

_NON_LINEAR = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
"""kvalues_iq4nl of ggml-common.h."""
_E2M1 = (0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12)
"""kvalues_mxfp4 of ggml-common.h: the values doubled."""

Scales = Literal["f16", "u8", "i8", "nibbles", "e8m0"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One weight type. A weight is scale x (code - offset) - minimum, or scale x table[code]."""

    low: int
    """Bits of a code in the first plane: 2, 4 or 8."""
    high: int = 0
    """Bits of a code in the second plane."""
    offset: int = 0
    table: tuple[int, ...] | None = None
    blocks: int = 1
    """Blocks of a super-block."""
    halves: bool = False
    """Scales are for 16 columns, not for 32."""
    scales: Scales = "f16"
    minima: bool = False
    factors: int = 0
    """Half-precision factors of a super-block: of the scales, of the minima."""

    @property
    def code_bytes(self) -> int:
        """Of a block: both planes."""
        return ROWS * BLOCK * (self.low + self.high) // 8

    @property
    def scale_bytes(self) -> int:
        """Of one set of scales (or minima) for a block."""
        return ROWS * (2 if self.scales == "f16" else 1) * (2 if self.halves else 1)

    @property
    def scales_at(self) -> int:
        """Where the scales of a super-block begin."""
        return self.blocks * self.code_bytes

    @property
    def minima_at(self) -> int:
        """Where the minima begin; with "nibbles" they are the scales' high halves."""
        apart = self.minima and self.scales != "nibbles"
        return self.scales_at + (self.blocks * self.scale_bytes if apart else 0)

    @property
    def factors_at(self) -> int:
        """Where the super-block's factors begin."""
        return self.minima_at + self.blocks * self.scale_bytes

    @property
    def super_bytes(self) -> int:
        """Bytes of a super-block of 16 rows."""
        return self.factors_at + 2 * ROWS * self.factors

    @property
    def largest(self) -> int:
        """The largest code as the dot product meets it."""
        return 255 if self.table else (1 << (self.low + self.high)) - 1

    def group_bytes(self, columns: int) -> int:
        """Bytes of a group of 16 rows."""
        return columns // (BLOCK * self.blocks) * self.super_bytes

    def packed_bytes(self, rows: int, columns: int) -> int:
        """Bytes of a matrix; its last group is filled up with rows of zeros."""
        return -(-rows // ROWS) * self.group_bytes(columns)


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "q4_0": Format(low=4, offset=8),
        "q4_1": Format(low=4, minima=True),
        "q5_0": Format(low=4, high=1, offset=16),
        "q5_1": Format(low=4, high=1, minima=True),
        "q8_0": Format(low=8, offset=128),
        "q2_k": Format(low=2, blocks=8, halves=True, scales="nibbles", minima=True, factors=2),
        "q3_k": Format(low=2, high=1, offset=4, blocks=8, halves=True, scales="i8", factors=1),
        "q4_k": Format(low=4, blocks=8, scales="u8", minima=True, factors=2),
        "q5_k": Format(low=4, high=1, blocks=8, scales="u8", minima=True, factors=2),
        "q6_k": Format(low=4, high=2, offset=32, blocks=8, halves=True, scales="i8", factors=1),
        "iq4_nl": Format(low=4, table=_NON_LINEAR),
        "iq4_xs": Format(low=4, table=_NON_LINEAR, blocks=8, scales="i8", factors=1),
        "mxfp4": Format(low=4, table=_E2M1, scales="e8m0"),
    }
)
"""By weight type, those that are computed from their codes."""
