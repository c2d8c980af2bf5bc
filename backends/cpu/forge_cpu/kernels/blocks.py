"""Reads GGML's blocks as files have them: the codes of 32 columns, one byte each.

The places of the fields are those of ggml-common.h, and so of the gguf package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from numba import njit

from forge_cpu.kernels.pointers import u8

SUPER_BYTES: Mapping[str, int] = MappingProxyType(
    {
        "q4_0": 18,
        "q4_1": 20,
        "q5_0": 22,
        "q5_1": 24,
        "q8_0": 34,
        "q2_k": 84,
        "q3_k": 110,
        "q4_k": 144,
        "q5_k": 176,
        "q6_k": 210,
        "iq4_nl": 18,
        "iq4_xs": 136,
        "mxfp4": 17,
    }
)
"""Bytes of a block of 32 or a super-block of 256 in the file."""


def _nibbles(at: int, apart: int = 0) -> Callable[..., None]:
    """16 bytes: columns 0 to 15 in the low nibbles, 16 to 31 in the high ones."""

    @njit
    def read(source, block, codes):
        packed, out = u8(source + at + apart * block), u8(codes)
        for i in range(16):
            out[i] = packed[i] & 15
            out[i + 16] = packed[i] >> 4

    return read


def _fifth_bits(nibbles: int, bits: int) -> Callable[..., None]:
    """Nibbles, and the bit above them of column i in bit i of a 32-bit word."""
    low = _nibbles(nibbles)

    @njit
    def read(source, block, codes):
        low(source, block, codes)
        above, out = u8(source + bits), u8(codes)
        for i in range(32):
            out[i] |= ((above[i >> 3] >> (i & 7)) & 1) << 4

    return read


@njit
def _q8_0(source, block, codes):
    """Signed bytes, biased to be unsigned."""
    packed, out = u8(source + 2), u8(codes)
    for i in range(32):
        out[i] = packed[i] ^ 0x80


@njit
def _q2_k(source, block, codes):
    packed, out = u8(source + 16 + 32 * (block >> 2)), u8(codes)
    for i in range(32):
        out[i] = (packed[i] >> (2 * (block & 3))) & 3


@njit
def _q3_k(source, block, codes):
    above, packed, out = u8(source), u8(source + 32 + 32 * (block >> 2)), u8(codes)
    for i in range(32):
        low = (packed[i] >> (2 * (block & 3))) & 3
        out[i] = low | ((above[i] >> block) & 1) << 2


@njit
def _q4_k(source, block, codes):
    packed, out = u8(source + 16 + 32 * (block >> 1)), u8(codes)
    for i in range(32):
        out[i] = (packed[i] >> (4 * (block & 1))) & 15


@njit
def _q5_k(source, block, codes):
    above, packed, out = u8(source + 16), u8(source + 48 + 32 * (block >> 1)), u8(codes)
    for i in range(32):
        low = (packed[i] >> (4 * (block & 1))) & 15
        out[i] = low | ((above[i] >> block) & 1) << 4


@njit
def _q6_k(source, block, codes):
    half, quarter = block >> 2, block & 3
    packed = u8(source + 64 * half + 32 * (quarter & 1))
    above, out = u8(source + 128 + 32 * half), u8(codes)
    for i in range(32):
        low = (packed[i] >> (4 * (quarter >> 1))) & 15
        out[i] = low | ((above[i] >> (2 * quarter)) & 3) << 4


READERS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "q4_0": _nibbles(2),
        "q4_1": _nibbles(4),
        "q5_0": _fifth_bits(6, 2),
        "q5_1": _fifth_bits(8, 4),
        "q8_0": _q8_0,
        "q2_k": _q2_k,
        "q3_k": _q3_k,
        "q4_k": _q4_k,
        "q5_k": _q5_k,
        "q6_k": _q6_k,
        "iq4_nl": _nibbles(2),
        "iq4_xs": _nibbles(8, 16),
        "mxfp4": _nibbles(1),
    }
)
"""(source of the super-block, block, 32 bytes for the codes)."""
