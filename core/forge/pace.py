"""How one reply goes, by the host's clock: the supervision's own cost is in it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

_FRAME = 1 / 60
"""Seconds that a token may wait for the next: no screen shows more pictures."""


@dataclass(slots=True)
class Pace:
    """When it was asked for, when its first and its last token came, and how many there were."""

    asked: float = field(default_factory=time.monotonic)
    first: float | None = None
    last: float | None = None
    prefilled: int = 0
    decoded: int = 0

    def token(self) -> None:
        """One more."""
        now = time.monotonic()
        if self.first is None:
            self.first = now
        else:
            self.decoded += 1
        self.last = now

    def gather(self, left: int) -> None:
        """Let quick tokens come together, `left` of them at most: each wake-up of this process
        would take a core from the worker's threads, where they are on the processor's cores."""
        if self.first is None or self.last is None or self.decoded < 2:
            return
        each = (self.last - self.first) / self.decoded
        seconds = min(_FRAME, (left - 1) * each) - (time.monotonic() - self.last)
        if seconds > 0:
            time.sleep(seconds)
