"""Which layers see only the last positions (arXiv 2004.05150), and how many."""

from __future__ import annotations

import numpy as np

from forge.errors import ModelError
from forge.models.hyperparameters import Hyperparameters

_LONGEST = 2**31 - 1


def sliding_windows(hp: Hyperparameters, *, period: int, default: int = 0) -> tuple[int, ...]:
    """Each layer's window, 0 for a layer that sees everything.

    attention.sliding_window is the window, `default` without it. One layer in `period`, the last of
    them, sees everything; attention.sliding_window_pattern is another period or a list, one truth
    value a layer. A period of 0 is no such layer, as in llama.cpp.
    """
    key = "attention.sliding_window"
    stated = hp.integer(key)
    window = default if stated is None else stated
    if not 0 <= window <= _LONGEST:
        raise ModelError(f"{hp.file.path}: {hp.architecture}.{key} is {window}")
    return tuple(window if local else 0 for local in _pattern(hp, period))


def _pattern(hp: Hyperparameters, period: int) -> list[bool]:
    """Whether each layer has a window."""
    key = f"{hp.architecture}.attention.sliding_window_pattern"
    value = hp.file.metadata.get(key)
    if isinstance(value, np.ndarray):
        if value.ndim != 1 or value.dtype.kind not in "biu" or len(value) != hp.layers:
            raise ModelError(
                f"{hp.file.path}: {key} needs {hp.layers} truth values, one a layer, "
                f"and has {len(value)} of type {value.dtype}"
            )
        return [bool(local) for local in value]
    stated = hp.integer("attention.sliding_window_pattern")
    period = period if stated is None else stated
    if period < 0:
        raise ModelError(f"{hp.file.path}: {key} is {period}")
    return [not period or layer % period < period - 1 for layer in range(hp.layers)]
