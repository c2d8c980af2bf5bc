"""Random weights of every type that forge reads, drawn as blocks rather than quantised.

The gguf package cannot quantise to the K- and IQ-types. Nor would quantised normal weights use a
format as fully as this: all codes, signs, grid indices and sub-block scales occur, evenly, so that
a decoder that misreads any of them is off by much.
"""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forge.errors import UsageError
from forge.gguf.types import TensorType, tensor_type
from forge.testing.block_layouts import LAYOUTS, ROOT_MEAN_SQUARE, SPREAD, Layout

Bytes = NDArray[np.uint8]
Scales = NDArray[np.float64]

WEIGHT_TYPES: tuple[str, ...] = tuple(LAYOUTS)
"""The types that `random_blocks` makes, which are those that forge reads, in GGML's order."""

# Within these, scales a few times larger or smaller are finite and still exact to a few percent.
_RANGES = MappingProxyType(
    {
        "f32": (2.0**-100, 2.0**100),
        "bf16": (2.0**-100, 2.0**100),
        "e8m0": (2.0**-100, 2.0**100),
        "f16": (2.0**-20, 2.0**10),
        "f16 in nibbles": (2.0**-20, 2.0**10),
        "ue4m3": (2.0**-9, 2.0**6),
    }
)
# What the codes of the small formats stand for, without those for infinity and NaN.
_E8M0 = np.exp2(np.arange(255) - 128.0)  # halved, for E2M1 is doubled
_UE4M3 = np.array(
    [2.0**-9 * n if n < 8 else (8 + n % 8) * 2.0 ** (n // 8 - 10) for n in range(127)]
)


def random_blocks(
    kind: str, shape: tuple[int, ...], *, std: float, random: np.random.Generator
) -> Bytes:
    """Valid blocks of type `kind`, uint8 [..., row bytes], for weights of `shape` [..., columns].

    Dequantised they are finite, of mean about 0 and standard deviation about `std`. The scales of
    the blocks differ by a factor of up to two. f32, f16 and bf16 are normal. UsageError for a type
    not in WEIGHT_TYPES, columns that its blocks do not divide, or a `std` that it cannot express.
    """
    layout, form = weight_layout(kind), tensor_type_for(kind, shape)
    per_unit = math.sqrt(layout.power) if layout else 1.0
    low, high = _RANGES[layout.scale_format if layout else form.name.lower()]
    if not low <= std / per_unit <= high:
        least, most = low * per_unit, high * per_unit
        raise UsageError(f"std is {std}; {form.name} allows {least:.2g} to {most:.2g}")
    if layout is None:
        return _numbers(form, shape, std, random)
    count = math.prod(shape) // form.block_size
    blocks = random.integers(0, 256, (count, form.block_bytes), np.uint8)
    for code in layout.codes:
        drawn = random.integers(len(code.values), size=(count, code.stop - code.start))
        blocks[:, code.start : code.stop] = code.values[drawn]
    _set_scales(blocks, layout, std / per_unit, random)
    return blocks.reshape(*shape[:-1], form.row_bytes(shape[-1]))


def weight_layout(kind: str) -> Layout | None:
    """The layout of `kind`, in either case; UsageError unless it is one of WEIGHT_TYPES."""
    if kind.lower() not in LAYOUTS:
        raise UsageError(
            f"no weights can be made of type {kind!r}\nKnown are {', '.join(WEIGHT_TYPES)}."
        )
    return LAYOUTS[kind.lower()]


def tensor_type_for(kind: str, shape: tuple[int, ...], name: str = "weights") -> TensorType:
    """The type, whose blocks divide the rows of `shape`; else UsageError."""
    weight_layout(kind)
    form = tensor_type(kind)
    if not shape or min(shape) < 1:
        raise UsageError(f"{name} of shape {shape}; needed is at least one row of weights")
    if shape[-1] % form.block_size:
        raise UsageError(
            f"{name} has rows of {shape[-1]} weights, but {form.name} comes in blocks of "
            f"{form.block_size}\nChoose widths that {form.block_size} divides, or another type."
        )
    return form


def _numbers(
    form: TensorType, shape: tuple[int, ...], std: float, random: np.random.Generator
) -> Bytes:
    numbers: NDArray[Any] = random.standard_normal(shape, np.float32) * np.float32(std)
    if form.name == "F16":
        numbers = numbers.astype("<f2")
    elif form.name == "BF16":  # a float32's upper half, rounded
        numbers = ((numbers.view(np.uint32) + np.uint32(0x8000)) >> np.uint32(16)).astype("<u2")
    else:
        numbers = numbers.astype("<f4")
    return numbers.view(np.uint8)


def _set_scales(blocks: Bytes, layout: Layout, unit: float, random: np.random.Generator) -> None:
    count, at = len(blocks), layout.scale
    scales = _drawn((count, layout.scales), unit, random)
    if layout.signed:
        scales *= random.choice((-1.0, 1.0), scales.shape)
    if layout.scale_format == "f16":
        if layout.minimum:
            minima = layout.minimum * _drawn((count, 1), unit, random)
            scales = np.concatenate([scales, minima], axis=1)
        halves = scales.astype("<f2").view(np.uint8)
        blocks[:, at : at + halves.shape[1]] = halves
    elif layout.scale_format == "f16 in nibbles":  # one in the top of each of four 16-bit words
        halves = scales.astype("<f2").view("<u2")
        nibbles = (halves >> np.arange(0, 16, 4, dtype=np.uint16) & 15).astype(np.uint8)
        tops = blocks[:, at + 1 : at + 8 : 2]
        tops[:] = tops & 15 | nibbles << 4
    else:
        table = _E8M0 if layout.scale_format == "e8m0" else _UE4M3 / 2
        blocks[:, at : at + layout.scales] = _nearby(table, scales, random)


def _drawn(shape: tuple[int, ...], unit: float, random: np.random.Generator) -> Scales:
    """Positive scales that differ by a factor of up to 4**SPREAD, with a mean square of unit²."""
    octaves: Scales = random.uniform(-SPREAD, SPREAD, shape)
    return np.exp2(octaves) * (unit / ROOT_MEAN_SQUARE)


def _nearby(table: Scales, scales: Scales, random: np.random.Generator) -> Bytes:
    """Codes of the table's entries just below or above, at random so that E[scale²] is kept."""
    below = np.searchsorted(table, scales, "right") - 1
    low, high = table[below] ** 2, table[below + 1] ** 2
    up = random.random(scales.shape) < (scales**2 - low) / (high - low)
    return (below + up).astype(np.uint8)
