"""What a run must not do with arrays: those that it is given, those that it has returned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def changed(given: Mapping[str, Array], now: Mapping[str, Array]) -> str:
    """Arguments are the caller's, who may use them again."""
    for name, array in given.items():
        if now[name].tobytes() != array.tobytes():
            return f"it wrote to the {name} that it was given"
    return ""


def malformed(out: Any, names: Sequence[str]) -> str:
    """Results are float32 arrays by the names of the graph's outputs."""
    if not isinstance(out, Mapping) or {*out} != {*names}:
        what = sorted(out) if isinstance(out, Mapping) else type(out).__name__
        return f"it returned {what}, not a mapping of {', '.join(names)}"
    for name, value in out.items():
        if not isinstance(value, np.ndarray) or value.dtype != np.float32:
            what = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
            return f"{name} is {what}, not a numpy array of float32"
    return ""


class Returned:
    """The arrays that runs have returned: the caller's, who may write to them and keep them."""

    def __init__(self) -> None:
        self._last: dict[int, list[Array]] = {}

    def breach(self, executable: int, arrays: list[Array]) -> str:
        """What this run did to the arrays of the one before; fills its own with NaN."""
        before = self._last.pop(executable, [])
        if any(not np.isnan(array).all() for array in before):
            return "it wrote to the arrays that the run before returned"
        if any(not array.flags.writeable for array in arrays):
            return "it returned an array that cannot be written to"
        for array in arrays:
            array.fill(np.nan)
        self._last[executable] = arrays
        return ""
