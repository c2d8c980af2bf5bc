"""Takes the scales of a file's super-block, for one row, to where the packed format has them.

Each function: (source, out of the super-block, row). See forge_cpu.formats for the places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from numba import njit

from forge_cpu.formats import FORMATS, ROWS
from forge_cpu.kernels.pointers import i8, u8


def _halves(*moves: tuple[int, int]) -> Callable[..., None]:
    """Half-precision numbers from place to place; 2 bytes a row."""

    @njit
    def move(source, out, row):
        for here, there in moves:
            given, taken = u8(source + here), u8(out + there + 2 * row)
            taken[0] = given[0]
            taken[1] = given[1]

    return move


def _blockwise(kind: str) -> Callable[..., None]:
    form = FORMATS[kind]
    if form.minima:
        return _halves((0, form.scales_at), (2, form.minima_at))
    return _halves((0, form.scales_at))


def _exponent() -> Callable[..., None]:
    at = FORMATS["mxfp4"].scales_at

    @njit
    def move(source, out, row):
        u8(out + at)[row] = u8(source)[0]

    return move


def _six_bits(kind: str) -> Callable[..., None]:
    """Q4_K and Q5_K: eight scales and eight minima of 6 bits in 12 bytes."""
    form = FORMATS[kind]
    scales_at, minima_at = form.scales_at, form.minima_at
    factors = _halves((0, form.factors_at), (2, form.factors_at + 2 * ROWS))

    @njit
    def move(source, out, row):
        factors(source, out, row)
        given, scales, minima = u8(source + 4), u8(out + scales_at), u8(out + minima_at)
        for i in range(4):
            scales[ROWS * i + row] = given[i] & 63
            minima[ROWS * i + row] = given[4 + i] & 63
            scales[ROWS * (4 + i) + row] = (given[8 + i] & 15) | (given[i] >> 6) << 4
            minima[ROWS * (4 + i) + row] = (given[8 + i] >> 4) | (given[4 + i] >> 6) << 4

    return move


def _q2_k() -> Callable[..., None]:
    form = FORMATS["q2_k"]
    scales_at = form.scales_at
    factors = _halves((80, form.factors_at), (82, form.factors_at + 2 * ROWS))

    @njit
    def move(source, out, row):
        factors(source, out, row)
        for i in range(16):
            u8(out + scales_at)[ROWS * i + row] = u8(source)[i]

    return move


def _q3_k() -> Callable[..., None]:
    form = FORMATS["q3_k"]
    scales_at = form.scales_at
    factors = _halves((108, form.factors_at))

    @njit
    def move(source, out, row):
        factors(source, out, row)
        given = u8(source + 96)
        for i in range(16):
            low = (given[i & 7] >> (4 * (i >> 3))) & 15
            high = (given[8 + (i & 3)] >> (2 * (i >> 2))) & 3
            i8(out + scales_at)[ROWS * i + row] = (low | high << 4) - 32

    return move


def _q6_k() -> Callable[..., None]:
    form = FORMATS["q6_k"]
    scales_at = form.scales_at
    factors = _halves((208, form.factors_at))

    @njit
    def move(source, out, row):
        factors(source, out, row)
        for i in range(16):
            u8(out + scales_at)[ROWS * i + row] = u8(source + 192)[i]

    return move


def _iq4_xs() -> Callable[..., None]:
    form = FORMATS["iq4_xs"]
    scales_at = form.scales_at
    factors = _halves((0, form.factors_at))

    @njit
    def move(source, out, row):
        factors(source, out, row)
        for i in range(8):
            low = (u8(source + 4)[i >> 1] >> (4 * (i & 1))) & 15
            high = (u8(source + 2)[i >> 2] >> (2 * (i & 3))) & 3
            i8(out + scales_at)[ROWS * i + row] = (low | high << 4) - 32

    return move


MOVERS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        **{k: _blockwise(k) for k in ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl")},
        "q2_k": _q2_k(),
        "q3_k": _q3_k(),
        "q4_k": _six_bits("q4_k"),
        "q5_k": _six_bits("q5_k"),
        "q6_k": _q6_k(),
        "iq4_xs": _iq4_xs(),
        "mxfp4": _exponent(),
    }
)
