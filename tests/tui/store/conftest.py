"""A store in a folder of the test's own, with a clock that the test sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from forge_tui.store import Conversation, Message, Store


@dataclass
class Clock:
    """Each look at it takes a second."""

    now: float = field(default=1_700_000_000.0)

    def __call__(self) -> float:
        self.now += 1
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "conversations.db"


@pytest.fixture
def opened(path: Path, clock: Clock) -> Iterator[Callable[..., Store]]:
    """Opens the store anew; every one is closed at the end."""
    stores: list[Store] = []

    def opened(**choices: float) -> Store:
        stores.append(Store(path, clock=clock, batch_seconds=0.01, **choices))
        return stores[-1]

    yield opened
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Callable[..., Store]) -> Store:
    return opened()


@dataclass
class Talk:
    """A conversation with one question and two answers to it."""

    conversation: Conversation
    question: Message
    first: Message
    second: Message


@pytest.fixture
def talk(store: Store) -> Talk:
    made = store.create("smollm2", "Be brief.", {"temperature": 0.5})
    question = store.add(made.id, None, "user", "Why is the sky blue?", tokens=6)
    answers = []
    for text in ("Because of the air.", "Rayleigh scattering."):
        writer = store.start_reply(made.id, question.id, "cpu")
        for word in text.split(" "):
            writer.append(word + " ", 1)
        answers.append(writer.finish("complete", {"finish_reason": "stop"}))
    return Talk(store.conversation(made.id), question, *answers)
