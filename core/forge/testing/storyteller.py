"""A whole conversation through the real engine, and everything that a person is told meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from forge.budgets import FIRST_USE, SECONDS
from forge.engine import Engine
from forge.errors import BackendError
from forge.events import Done, Event, Fallback, Ready, Token
from forge.sampling import SamplingParams
from forge.spec import BackendSpec
from forge.testing.conversation import TOKENS, Conversation

GREEDY = SamplingParams(temperature=0)
PATIENT = dict.fromkeys(SECONDS, 120.0)
"""Budgets for a backend that nobody has timed yet."""
LEAST = {**dict.fromkeys(SECONDS, 0.3), "start": 0.75, "open": 0.75}
"""Seconds that the quickest backend gets: a busy machine takes some of them for itself, and a
driver that still clears away after a killed process lets others wait to open the device."""
_SLACK = 3.0


class TimedEngine(Engine):
    """An engine whose budgets, by phase, are `seconds`."""

    def __init__(
        self,
        model: Path,
        backend: BackendSpec,
        fallback_to: Sequence[BackendSpec] = (),
        seconds: Mapping[str, float] = PATIENT,
    ) -> None:
        super().__init__(
            model, backend=backend, fallback_to=fallback_to, remember=False, seconds=seconds
        )

    @property
    def failures(self) -> Mapping[str, BackendError]:
        """Why each backend was given up."""
        return self._supervisor.failures


@dataclass(frozen=True, slots=True)
class Heard:
    """An event, when it came, and what was waited for: the phase as the watchdog names it."""

    event: Event
    waited: float
    phase: str


@dataclass(frozen=True, slots=True)
class Story:
    """What was told while the model was loaded, and then in each turn."""

    loading: Sequence[Heard]
    turns: Sequence[Sequence[Heard]]
    messages: Sequence[Mapping[str, str]]

    @property
    def all(self) -> list[Heard]:
        """From the beginning to the end."""
        return [*self.loading, *(heard for turn in self.turns for heard in turn)]

    @property
    def fallbacks(self) -> list[Fallback]:
        """Each change of the backend."""
        return [heard.event for heard in self.all if isinstance(heard.event, Fallback)]

    @property
    def ready(self) -> list[str]:
        """The backends that held the model, one after the other."""
        return [heard.event.backend for heard in self.all if isinstance(heard.event, Ready)]

    @property
    def done(self) -> list[Done]:
        """The end of each turn."""
        return [heard.event for heard in self.all if isinstance(heard.event, Done)]

    def shown_before_fallback(self) -> int:
        """Tokens of its own turn that the person had seen when the reply moved."""
        for part in (self.loading, *self.turns):
            kinds = [type(heard.event) for heard in part]
            if Fallback in kinds:
                return kinds[: kinds.index(Fallback)].count(Token)
        raise ValueError("the reply never moved")

    def times(self) -> tuple[float, float]:
        """Seconds from the last sign of life to the fallback, and from there to the next token."""
        kinds = [type(heard.event) for heard in self.all]
        moved = kinds.index(Fallback)
        token = kinds.index(Token, moved)
        return self.all[moved].waited, sum(h.waited for h in self.all[moved + 1 : token + 1])


def tell(engine: Engine, conversation: Conversation) -> Story:
    """Load the model and hold the conversation."""
    session = engine.chat()
    loading = list(_listen(engine, engine.load(), "start"))
    turns = [
        list(_listen(engine, session.send(turn.text, GREEDY, max_tokens=TOKENS), "prefill"))
        for turn in conversation.turns
    ]
    return Story(loading, turns, session.messages)


def _listen(engine: Engine, events: Iterable[Event], first: str) -> Iterator[Heard]:
    """`first` is what the first event is waited for: the watchdog does not know it yet."""
    remaining = iter(events)
    while True:
        watch, before = engine.watch(), time.monotonic()
        try:
            event = next(remaining)
        except StopIteration:
            return
        yield Heard(event, time.monotonic() - before, watch.phase if watch else first)


def budgets(stories: Iterable[Story]) -> dict[str, float]:
    """Budgets by phase that leave an undisturbed backend three times the time it took."""
    seconds = dict(LEAST)
    for story in stories:
        seen: set[str] = set()
        for heard in story.all:
            share = 1.0 if heard.phase in seen else FIRST_USE
            seen.add(heard.phase)
            needed = _SLACK * heard.waited / share
            seconds[heard.phase] = max(seconds.get(heard.phase, 0.0), needed)
    return seconds
