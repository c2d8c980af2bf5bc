"""Results that are not what was computed, as failing devices and careless drivers give them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from forge.backend import Array

NUMBERS = ("nan", "constant", "wrong", "few-nan", "two-values", "stale")
"""Faults of the numbers that a run returns."""
TOKENS = ("repeat", "few", "many", "outside")
"""Faults of the tokens that decode yields."""
_OUTSIDE = 1 << 20


def numbers(fault: str, true: Array, before: Array | None) -> Array:
    """What is returned in place of rows f32 [R, n]; `before` is what the run before computed."""
    out = np.array(true, np.float32)
    match fault:
        case "nan":
            out[:] = np.nan
        case "constant":
            out[:] = 0.5
        case "wrong":
            out[:, ::3] *= np.float32(1.1)
        case "few-nan":
            out[:, -1:] = np.nan
        case "two-values":
            out[:] = 0.5
            out[:, ::2] = 0.25
        case "stale":  # the buffer as it was; nothing has written to a new one yet
            out[:] = before if before is not None and before.shape == out.shape else 0
    return out


def tokens(fault: str, true: Iterator[int], before: int, left: int) -> Iterator[int]:
    """What is yielded in place of the `left` tokens that follow the token `before`."""
    for token in true:
        match fault:
            case "repeat":
                yield before
            case "outside":
                yield token + _OUTSIDE
            case "many":
                yield token
                before = token
            case "few":
                return
    if fault == "many":
        for _ in range(left):
            yield before
