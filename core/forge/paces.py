"""How long pieces of work take on this machine: what time budgets are learned from."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

BINS = 64
_LEAST = 1e-4
_PER_DECADE = 8
"""Bins grow by a third: 0.1 ms to 10,000 s."""
FADE = 0.999
"""What an observation still weighs after the next one: the last thousand count."""

_HEAVY, _MANY = 1e9, 10_000

Place = tuple[str, int]
"""A phase, and the binary logarithm of the amount of work of one piece."""


def bucket(work: float) -> int:
    """Amounts of work that are less than a factor of two apart share what is learned."""
    return int(math.log2(work)) if work >= 1 else 0


class Paces:
    """Decayed histograms of seconds by phase and amount of work.

    Owns what was known when it was made, and what was seen since: `take` gives the latter away, to
    be kept with what other processes saw.
    """

    def __init__(self, known: Mapping[Place, Iterable[float]] | None = None) -> None:
        self._all = {place: _Histogram(counts) for place, counts in (known or {}).items()}
        self._new: dict[Place, _Histogram] = {}

    def saw(self, phase: str, work: float, seconds: float, pieces: int = 1) -> None:
        """`pieces` of a phase, of `work` each, took that long each."""
        place, bin_ = (phase, bucket(work)), _bin(seconds)
        for histograms in (self._all, self._new):
            if place not in histograms:
                histograms[place] = _Histogram([0.0] * BINS)
            histograms[place].add(bin_, pieces)

    def p99(self, phase: str, work: float) -> float | None:
        """Seconds that 99 of 100 such pieces stay under; None where none was ever seen.

        An amount of work that is new is judged by the nearest one, in proportion where that is
        smaller.
        """
        wanted = bucket(work)
        near = min(
            (place for place, found in self._all.items() if place[0] == phase and found),
            key=lambda place: (abs(place[1] - wanted), place[1]),
            default=None,
        )
        if near is None:
            return None
        return self._all[near].p99() * 2.0 ** max(0, wanted - near[1])

    def take(self) -> dict[Place, list[float]]:
        """What was seen since the last call."""
        new, self._new = self._new, {}
        return {place: histogram.counts() for place, histogram in new.items()}


class _Histogram:
    """Counts that fade; instead of all the old ones fading, what is new weighs more."""

    def __init__(self, counts: Iterable[float]) -> None:
        self._counts = list(counts)
        self._weight = 1.0
        self._top: int | None = None

    def __bool__(self) -> bool:
        return any(self._counts)

    def add(self, bin_: int, pieces: int) -> None:
        pieces = min(pieces, _MANY)
        self._weight /= FADE**pieces
        self._counts[bin_] += pieces * self._weight
        if self._weight > _HEAVY:
            self._counts, self._weight = self.counts(), 1.0
        self._top = None

    def counts(self) -> list[float]:
        return [count / self._weight for count in self._counts]

    def p99(self) -> float:
        """The upper edge of the bin that holds the 99th percentile."""
        if self._top is None:
            left = 0.01 * sum(self._counts)
            self._top = BINS - 1
            while self._top and (left := left - self._counts[self._top]) >= 0:
                self._top -= 1
        return float(_LEAST * 10 ** (self._top / _PER_DECADE))


def _bin(seconds: float) -> int:
    if not seconds > _LEAST:
        return 0
    return min(BINS - 1, 1 + int(math.log10(seconds / _LEAST) * _PER_DECADE))
