"""How long a worker may go without finishing a piece of work, by phase."""

from __future__ import annotations

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


class Budgets:
    """One worker's budgets; it owns which phases have shown their first piece."""

    def __init__(self, patience: float = 1.0) -> None:
        self._patience = patience
        self._seen: set[str] = set()

    def seconds(self, phase: str) -> float:
        """The budget of the phase's next piece."""
        first = 1.0 if phase in self._seen else FIRST_USE
        return SECONDS.get(phase, SECONDS["compile"]) * first * self._patience

    def beat(self, phase: str) -> None:
        """A piece of the phase is finished."""
        self._seen.add(phase)
