"""What random blocks of each weight type are made of: its scales, its unused codes, its size.

The places of the fields are those of ggml-common.h, and so of the gguf package.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

ScaleFormat = Literal["f16", "f16 in nibbles", "e8m0", "ue4m3"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeBytes:
    """Bytes [start, stop) of a block, which a quantiser fills with some of the 256 values only."""

    start: int
    stop: int
    values: NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A block is even random bytes, but for its codes where they are fewer, and for its scales."""

    power: float
    """Mean square of the weights where the block scales (and minima) have a mean square of 1."""
    scale: int = 0
    """The block scale's first byte; a minimum lies right behind it."""
    scale_format: ScaleFormat = "f16"
    scales: int = 1
    signed: bool = False
    """The scales take both signs, which cancels the mean of codes like -8..7."""
    minimum: float = 0.0
    """Times another random scale this is the minimum, so that the weights' mean is 0."""
    codes: tuple[CodeBytes, ...] = ()


SPREAD = 0.5
"""Block scales are 2**u, u even in ±SPREAD, before they are divided by their root mean square."""
ROOT_MEAN_SQUARE = math.sqrt((4**SPREAD - 4**-SPREAD) / (2 * SPREAD * math.log(4)))
_MEAN = (2**SPREAD - 2**-SPREAD) / (2 * SPREAD * math.log(2)) / ROOT_MEAN_SQUARE


def _square(values: Iterable[float]) -> float:
    return float(np.mean(np.square(np.array(list(values), np.float64))))


def _shifted(codes: int, subscales: Iterable[float] = (1,)) -> float:
    """Power of d·a·q - m·b·mean(q): `codes` values q; scales d, m and subscales a, b all drawn."""
    subscales, middle = list(subscales), (codes - 1) / 2
    scales_meet = _MEAN**2 * (sum(subscales) / len(subscales)) ** 2  # E[d·a·m·b]
    shared = _square(subscales) - scales_meet
    return _square(subscales) * (_square(range(codes)) - middle**2) + 2 * middle**2 * shared


def _bytes(start: int, stop: int, values: Iterable[int]) -> CodeBytes:
    return CodeBytes(start=start, stop=stop, values=np.array(list(values), np.int64).astype("u1"))


def _base3(digits: int, shift: int) -> list[int]:
    """Every number of `digits` base-3 digits, `shift` bits a digit."""
    return [
        sum(number // 3**i % 3 << shift * i for i in range(digits)) for number in range(3**digits)
    ]


_FOUR_BITS = range(16)
_TERNARY = _square((-1, 0, 1))
_E2M1 = _square((0, 1, 2, 3, 4, 6, 8, 12))  # doubled, as GGML has them
_NON_LINEAR = 4548.0  # mean square of kvalues_iq4nl
# Mean squares of the grids' entries: the tables iq1s_grid, iq2xxs_grid, ... of ggml-common.h.
_GRID1 = (9735 / 16384 + 0.125**2) * _square(range(1, 16, 2))  # ± 0.125 is added
_GRID2_XXS, _GRID2_XS, _GRID2_S = 1094513 / 2048, 2402206 / 4096, 4889327 / 8192
_GRID3_XXS, _GRID3_S = 974480 / 1024, 118112 / 2048
_HALVES = _square(0.5 + scale for scale in _FOUR_BITS)

LAYOUTS: Mapping[str, Layout | None] = MappingProxyType(
    {
        "f32": None,
        "f16": None,
        "q4_0": Layout(power=_square(range(-8, 8)), signed=True),
        "q4_1": Layout(power=_shifted(16), minimum=-7.5),
        "q5_0": Layout(power=_square(range(-16, 16)), signed=True),
        "q5_1": Layout(power=_shifted(32), minimum=-15.5),
        # No quantiser writes -128.
        "q8_0": Layout(power=_square(range(-127, 128)), codes=(_bytes(2, 34, range(-127, 128)),)),
        "q2_k": Layout(power=_shifted(4, _FOUR_BITS), scale=80, minimum=1.5),
        "q3_k": Layout(power=_square(range(-4, 4)) * _square(range(-32, 32)), scale=108),
        "q4_k": Layout(power=_shifted(16, range(64)), minimum=7.5),
        "q5_k": Layout(power=_shifted(32, range(64)), minimum=15.5),
        "q6_k": Layout(power=_square(range(-32, 32)) * _square(range(-128, 128)), scale=208),
        "iq2_xxs": Layout(power=_GRID2_XXS * _HALVES / 16),
        "iq2_xs": Layout(power=_GRID2_XS * _HALVES / 16),
        "iq3_xxs": Layout(power=_GRID3_XXS * _HALVES / 4),
        "iq1_s": Layout(power=_GRID1),
        "iq4_nl": Layout(power=_NON_LINEAR, signed=True),
        "iq3_s": Layout(power=_GRID3_S * _square(range(1, 32, 2))),
        "iq2_s": Layout(power=_GRID2_S * _HALVES / 16),
        "iq4_xs": Layout(power=_NON_LINEAR * _square(range(-32, 32)), signed=True),
        "iq1_m": Layout(power=_GRID1, scale=48, scale_format="f16 in nibbles"),
        "bf16": None,
        # Five trits a byte, rounded up as a fraction of 256; the last four bytes hold four.
        "tq1_0": Layout(
            power=_TERNARY,
            scale=52,
            codes=(
                _bytes(0, 48, ((n * 256 + 242) // 243 for n in range(243))),
                _bytes(48, 52, ((n * 256 + 242) // 243 for n in range(0, 243, 3))),
            ),
        ),
        # Two bits for -1, 0 and 1: the fourth code is in no file.
        "tq2_0": Layout(power=_TERNARY, scale=64, codes=(_bytes(0, 64, _base3(4, 2)),)),
        "mxfp4": Layout(power=_E2M1, scale_format="e8m0"),
        "nvfp4": Layout(power=_E2M1, scale_format="ue4m3", scales=4),
    }
)
"""By name in lower case, in GGML's order; the plain number formats have none."""
