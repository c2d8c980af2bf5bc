"""When a faulty backend fails: counts the steps of a phase up to the one that was asked for."""

from __future__ import annotations

import time
from collections.abc import Mapping

from forge.backend import BackendLost, BackendOutOfMemory
from forge.faults import Where
from forge.testing import lies
from forge.testing.damage import ENDINGS, damage, note

PREFIX = "faulty."
"""Of the options that are the script's; all others are the wrapped backend's."""


class Script:
    """Counts the steps of the phase and fails at the one that was asked for.

    `serves` says that there was a reply already, `lies` that the fault has begun and is a lie.
    """

    def __init__(self, options: Mapping[str, str]) -> None:
        mine = {k.removeprefix(PREFIX): v for k, v in options.items() if k.startswith(PREFIX)}
        self.of = mine["of"]
        self.fault, self._phase = mine["fault"], mine["phase"]
        self._step, self._seconds = int(mine["step"]), float(mine["seconds"])
        self._diary = mine.get("diary", "")
        self._count = 0
        self.lies = self.serves = False

    @property
    def changes_numbers(self) -> bool:
        return self.fault in lies.NUMBERS

    def reach(self, phase: Where) -> None:
        """A step of the phase begins."""
        self._count += phase == self._phase
        self.serves |= phase in ("prefill", "decode")
        if phase != self._phase or self._count < self._step or self._phase == "start":
            return
        if self._count == self._step:
            note(self._diary)
        match self.fault:
            case "exception":
                raise RuntimeError(f"scripted: step {self._count} of {phase}")
            case "oom":
                raise BackendOutOfMemory(f"scripted: no room at step {self._count} of {phase}")
            case "lost":
                raise BackendLost(f"scripted: the device is gone at step {self._count} of {phase}")
            case "slow":
                time.sleep(self._seconds)
            case fault if fault in ENDINGS:
                damage(fault)
            case _:
                self.lies = True
