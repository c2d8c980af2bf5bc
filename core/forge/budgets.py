"""How long a worker may go without finishing a piece of work, by phase."""

from __future__ import annotations

from collections.abc import Mapping

FIRST_USE = 4.0
"""The first piece of a phase may take this many times longer: caches are cold, code is new."""

SECONDS = {
    "start": 20.0,  # the interpreter and forge
    "open": 20.0,  # driver and device
    "load": 15.0,  # a tensor
    "compile": 120.0,  # a kernel
    "check": 20.0,  # a known answer
    "prefill": 10.0,  # a chunk
    "decode": 2.0,  # a token
    "evaluate": 10.0,  # a block of logits
}


_NEXT = {"load": "compile", "compile": "check"}
"""What the worker is at once a phase is complete: its own budget would be the wrong one."""


class Budgets:
    """One worker's budgets; it owns the phase it is in and which phases have shown a piece."""

    def __init__(self, patience: float = 1.0, seconds: Mapping[str, float] = SECONDS) -> None:
        self.phase = "start"
        self._patience = patience
        self._floors = seconds
        self._seen: set[str] = set()

    def seconds(self, phase: str = "") -> float:
        """The budget of the next piece: of the phase it is in, or of another one."""
        phase = phase or self.phase
        first = 1.0 if phase in self._seen else FIRST_USE
        return self._floors.get(phase, SECONDS["compile"]) * first * self._patience

    def beat(self, phase: str, done: int = 1, total: int = 0) -> None:
        """A piece of the phase is finished, `done` of `total` if there is a total."""
        self.phase = _NEXT.get(phase, phase) if 0 < total <= done else phase
        if done:
            self._seen.add(phase)

    def enter(self, phase: str) -> None:
        """The phase so far has finished what it was at; `phase` begins."""
        self._seen.add(self.phase)
        self.phase = phase
