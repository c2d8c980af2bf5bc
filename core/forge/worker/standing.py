"""Known answers while replies run: the model in small, part by part, at a small share of the time.

A device that was right when the model was loaded may be so no more: after a reset that lost its
memory, with a unit that is stuck. What it computes for a reply may look like any other numbers, as
nobody knows them; what it computes for the miniature does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from forge.rehearsal import Rehearsal

SHARE = 200
"""A part comes after so many times what the last one took: half a per cent of the time."""
LEAST = 0.25
"""Seconds between two parts at least: quick ones would only push the model out of the caches."""


class StandingCheck:
    """Owns the rehearsal and when its next part is due; BackendWrong comes out of any part."""

    def __init__(
        self, rehearsal: Rehearsal, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._rehearsal, self._clock = rehearsal, clock
        self._due = self._suspicious_from = 0.0

    @property
    def rewinds(self) -> bool:
        """Whether the backend forgets one token where it is told to forget one."""
        return self._rehearsal.rewinds

    def now(self) -> None:
        """The next part, before a reply's first token and at its end."""
        begun = self._clock()
        self._rehearsal.step()
        ended = self._clock()
        self._due = ended + max(LEAST, SHARE * (ended - begun))

    def if_due(self) -> None:
        """The next part, if it is time."""
        if self._clock() >= self._due:
            self.now()

    def suspect(self) -> None:
        """The next part, as something looks strange; not each time where it keeps looking so."""
        if (begun := self._clock()) >= self._suspicious_from:
            self.now()
            ended = self._clock()
            self._suspicious_from = ended + SHARE * (ended - begun)

    def close(self) -> None:
        """Give back what the device holds for it."""
        self._rehearsal.close()
