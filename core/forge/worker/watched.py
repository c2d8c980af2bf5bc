"""A sampler that looks at the rows it draws from, and remembers a little of the last ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forge.backend import Array
from forge.errors import BackendWrong
from forge.sampling import Sampler, SamplingParams

_GLIMPSE = 256
"""Columns of a row that are remembered: their copy takes microseconds, their mean is no chance."""
_REMEMBERED = 64
"""Rows that a glimpse is kept of; a backend that draws ahead of what it yields needs some."""
_SAMPLE, _MANY = 16, 64
"""Columns that are looked at first; a row of so many has more than two different numbers."""
_CANDIDATES = 8
"""So many of the largest logits are not all alike."""


@dataclass(frozen=True, slots=True)
class Glimpse:
    """Some columns of a row of logits."""

    ids: NDArray[np.integer[Any]]
    values: Array

    @classmethod
    def of(cls, row: Array) -> Glimpse:
        """Columns at even distances; all of a short row."""
        ids = np.arange(0, row.size, -(-row.size // _GLIMPSE))
        return cls(ids, row[ids])

    def distance(self, row: Array) -> float:
        """Mean square difference from those columns of `row`, as a part of its mean square."""
        size = float(np.square(row, dtype=np.float64).mean())
        error = float(np.square(self.values - row[self.ids], dtype=np.float64).mean())
        return error / size if size else error

    def equals(self, other: Glimpse) -> bool:
        """Bit for bit."""
        return np.array_equal(self.ids, other.ids) and np.array_equal(self.values, other.values)


class WatchedSampler(Sampler):
    """Refuses logits that are all alike: a device that stopped writing leaves such a row.

    Owns what it heard and drew at the last positions. `repeated` says that a row came twice.
    """

    def __init__(self, params: SamplingParams, history: Sequence[int] = ()) -> None:
        super().__init__(params, history)
        self.repeated = False
        """A row was that of the position before. It is rare but may be right: where the context is
        one token again and again, every position means the same."""
        self._heard: dict[int, Glimpse] = {}
        self._drew: dict[int, int] = {}
        self._among = False

    def sample(self, logits: ArrayLike, position: int) -> int:
        """The token at `position`; BackendWrong for NaN, infinity, or one or two numbers."""
        row = np.asarray(logits)
        if self._among:
            return super().sample(row, position)
        _demand_many(row, _MANY)
        token = super().sample(row, position)
        self._note(Glimpse.of(row), token, position)
        return token

    def sample_from(self, ids: NDArray[np.integer[Any]], logits: ArrayLike, position: int) -> int:
        """As any does, and remembers the candidates."""
        largest = np.array(logits)
        if largest.size >= _CANDIDATES:
            _demand_many(largest, largest.size + 1)
        self._among = True
        try:
            token = super().sample_from(ids, largest, position)
        finally:
            self._among = False
        self._note(Glimpse(np.array(ids), largest), token, position)
        return token

    def heard(self, position: int) -> Glimpse | None:
        """Of the row that the token at `position` was drawn from last; None if nobody asked."""
        return self._heard.get(position)

    def drew(self, position: int) -> int | None:
        """The token that was drawn for `position` last; None if nobody asked."""
        return self._drew.get(position)

    def _note(self, glimpse: Glimpse, token: int, position: int) -> None:
        before = self._heard.get(position - 1)
        self.repeated |= before is not None and before.equals(glimpse)
        if len(self._heard) == _REMEMBERED:
            oldest = next(iter(self._heard))
            del self._heard[oldest], self._drew[oldest]
        self._heard[position], self._drew[position] = glimpse, token


def _demand_many(row: Array, many: int) -> None:
    """BackendWrong for a row of one number, or, where it has `many` columns, of two."""
    if row.ndim != 1 or row.size < 2:
        return
    some = row[:: max(1, row.size // _SAMPLE)]
    if ((some != some.min()) & (some != some.max())).any():
        return
    least, most = row.min(), row.max()
    if least == most:
        raise BackendWrong(f"the backend computed {most} as every one of its {row.size} logits")
    if row.size >= many and ((row == least) | (row == most)).all():
        raise BackendWrong(
            f"the backend computed {least} or {most} as every one of its {row.size} logits"
        )
