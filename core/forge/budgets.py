"""How long a worker may go without finishing a piece of work: by phase, learned from this machine.

    budget = patience x max(floor, 8 x p99 of such pieces here)      where some were seen before
           = patience x max(4 x floor, weights / 100 MB/s)           at first use

A piece is a tensor, a kernel, a known answer, a chunk of the prompt, a token. Fixed time limits
that killed healthy work are the best-known defect of other watchdogs (ollama/ollama#10707,
unslothai PR #8990); whoever was slow before has longer, and nobody has less than the floor.
"""

from __future__ import annotations

from collections.abc import Mapping

from forge.paces import Paces

FIRST_USE = 4.0
"""The first piece of a phase may take this many times longer: caches are cold, code is new."""
MARGIN = 8.0
"""A piece that takes so many times what 99 of 100 take is not slow any more."""
_SLOWEST = 100e6
"""Bytes a second that the first token of a model may need: one that comes from a slow disk."""
CEILING = 900.0
"""Seconds: whoever was silent for a quarter of an hour is not waited for, whatever was learned."""

SECONDS = {
    "start": 20.0,  # the interpreter and forge
    "open": 20.0,  # driver and device
    "load": 15.0,  # a tensor
    "compile": 120.0,  # a kernel
    "check": 20.0,  # a known answer
    "idle": 5.0,  # a worker that has nothing to do takes a request up
    "prefill": 10.0,  # a chunk
    "decode": 2.0,  # a token
    "evaluate": 10.0,  # a block of logits
    "profile": 10.0,  # some runs whose kernels are timed
}
"""The floors."""
_BY_WEIGHTS = ("prefill", "decode", "evaluate", "profile")
"""Phases whose pieces read every weight of the model."""

_NEXT = {"load": "compile", "compile": "check"}
"""What the worker is at once a phase is complete: its own budget would be the wrong one."""


class Budgets:
    """One worker's budgets. Owns the phase that it is in, and how much work a piece of it is."""

    def __init__(
        self, patience: float = 1.0, seconds: Mapping[str, float] = SECONDS, weights: int = 0
    ) -> None:
        self.phase = "start"
        self.paces = Paces()
        self._patience = patience
        self._floors = seconds
        self._weights = weights
        self._tokens = 1
        self._seen: set[str] = set()

    def seconds(self, phase: str = "") -> float:
        """The budget of the next piece: of the phase it is in, or of another one."""
        phase = phase or self.phase
        floor = self._floors.get(phase, self._floors.get("compile", SECONDS["compile"]))
        known = self.paces.p99(phase, self._work(phase))
        if known is None and phase not in self._seen:
            slow = self._weights / _SLOWEST if phase in _BY_WEIGHTS else 0.0
            return self._patience * max(FIRST_USE * floor, min(slow, CEILING))
        return self._patience * max(floor, min(MARGIN * (known or 0.0), CEILING))

    def longest(self) -> float:
        """Seconds that a worker may take whose weights come from a slow disk all the while."""
        if self.phase not in ("load", *_BY_WEIGHTS):
            return 0.0
        return self._patience * min(self._weights / (_SLOWEST / 4), CEILING)

    def beat(self, phase: str, done: int = 1, total: int = 0) -> None:
        """A piece of the phase is finished, `done` of `total` if there is a total."""
        self.phase = _NEXT.get(phase, phase) if 0 < total <= done else phase
        if done:
            self._seen.add(phase)

    def enter(self, phase: str) -> None:
        """The phase so far has finished what it was at; `phase` begins."""
        self._seen.add(self.phase)
        self.phase = phase

    def chunk(self, tokens: int) -> None:
        """A piece of a prompt has that many tokens."""
        self._tokens = max(1, tokens)

    def took(self, phase: str, seconds: float, pieces: int = 1) -> None:
        """Pieces of a phase took that long each, as the host saw it."""
        self.paces.saw(phase, self._work(phase), seconds, pieces)

    def _work(self, phase: str) -> float:
        """Of one piece: bytes of weights, times the tokens that share a reading of them."""
        if phase in _BY_WEIGHTS:
            return float(self._weights) * (self._tokens if phase in ("prefill", "profile") else 1)
        return 1.0
