"""Attention over the cache: head sizes, sharing of keys, positions, windows, softcaps, sinks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from forge.graph import Attr, Op, StateSpec
from forge.testing.cases.case import (
    POSITIONS,
    SLOTS,
    OpCase,
    Operand,
    Step,
    WeightData,
    activations,
)
from forge.testing.cases.rows import HEAD_SIZES

SHARED = ((1, 1), (4, 4), (8, 2), (7, 1), (6, 2), (9, 3))
"""Query heads and key-value heads."""
SHORT = (Step(5), Step(1, 5), Step(1, 6), Step(3, 7))
GROWING = tuple(Step(tokens, tokens * (tokens - 1) // 2) for tokens in range(1, 14))
"""As many tokens at a time as kernels for few are made for, from even and odd positions on."""


def attention() -> Iterator[OpCase]:
    """One thing at a time, then all together."""
    for size in HEAD_SIZES:
        for heads, kv_heads in SHARED:
            label = f"{heads}over{kv_heads}x{size}"
            quick = (heads, kv_heads) == (8, 2)
            yield _case("causal", label, heads, kv_heads, size, 16, SHORT, quick=quick)
    for size in (32, 72, 112, 192):  # what real models have, and is no multiple of 64
        yield _case("causal", f"8over2x{size}", 8, 2, size, 16, SHORT)
    for capacity in (1, 2, 33, 129, 1025):
        steps = _filling(capacity)
        yield _case("causal", f"full-{capacity}", 4, 2, 64, capacity, steps, quick=capacity == 33)
    yield _case("causal", "long", 2, 1, 64, 4097, _filling(4097))
    for dtype in ("f16", "q8_0"):
        yield _case(f"{dtype} cache", "", 4, 2, 64, 33, _filling(33), quick=True, dtype=dtype)
        yield _case(f"{dtype} cache", "96", 6, 3, 96, 33, _filling(33), dtype=dtype)
    yield _case("causal", "growing", 6, 2, 64, 96, GROWING, quick=True)
    yield _case("causal", "sharp", 4, 2, 64, 33, _filling(33), scale=1.0)
    for window in (1, 5, 16, 1000):
        yield _case("window", f"{window}", 4, 2, 64, 65, _filling(65), quick=True, window=window)
    for cap in (5.0, 50.0):
        yield _case("softcap", f"{cap:g}", 4, 2, 64, 33, _filling(33), quick=True, softcap=cap)
    yield _case("sinks", "few", 6, 2, 64, 33, _filling(33), quick=True, sinks=True)
    yield _case("sinks", "window", 8, 1, 80, 65, _filling(65), sinks=True, window=7)
    yield _case("sinks", "all", 6, 3, 96, 65, _filling(65), sinks=True, window=9, softcap=20.0)
    yield _case("not causal", "", 4, 2, 64, 16, (Step(9),), causal=False)
    yield _case("value size", "", 4, 2, 96, 16, SHORT, value_size=64)
    yield _case("value size", "larger", 4, 2, 64, 16, SHORT, value_size=112)
    turns = (Step(6, slots=2), Step(2, 3, slots=2), Step(4, 4, slots=2))
    yield _case("slots", "two", 4, 2, 64, 16, turns, slots=2)


def _filling(capacity: int) -> tuple[Step, ...]:
    """To the last place: a prompt, single tokens, an odd chunk, and the end token by token."""
    parts: Sequence[int] = (
        [capacity] if capacity < 8 else [capacity // 2, 1, 1, capacity - capacity // 2 - 5, 1, 1, 1]
    )
    steps, start = [], 0
    for count in parts:
        steps.append(Step(count, start))
        start += count
    return tuple(steps)


def _case(
    column: str,
    label: str,
    heads: int,
    kv_heads: int,
    size: int,
    capacity: int,
    steps: tuple[Step, ...],
    *,
    quick: bool = False,
    value_size: int = 0,
    slots: int = 1,
    dtype: str = "f32",
    sinks: bool = False,
    scale: float = 0.0,
    **attrs: Attr,
) -> OpCase:
    value_size = value_size or size
    operands: dict[str, Operand] = {
        "q": activations(heads * size),
        "k": activations(kv_heads * size),
        "v": activations(kv_heads * value_size),
        "keys": StateSpec(slots, kv_heads, capacity, size, dtype),
        "values": StateSpec(slots, kv_heads, capacity, value_size, dtype),
        "positions": POSITIONS,
        "slots": SLOTS,
    }
    if sinks:
        operands["sinks"] = WeightData("f32", (heads,), 2.0)
    chosen: dict[str, Attr] = {
        "heads": heads,
        "kv_heads": kv_heads,
        "scale": scale or 2 / math.sqrt(size),
        **attrs,
    }
    return OpCase(Op.ATTENTION, column, label, operands, steps, chosen, quick)
