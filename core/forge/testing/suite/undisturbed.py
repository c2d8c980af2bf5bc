"""What the backend does when nothing goes wrong: the measure of the tests of faults."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from forge.budgets import SECONDS
from forge.spec import BackendSpec
from forge.testing.conversation import Conversation, decided
from forge.testing.faulty import faulty
from forge.testing.storyteller import Story, TimedEngine, budgets, tell

_KEY = pytest.StashKey["Undisturbed"]()


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """A conversation, how this backend holds it, and budgets that suit it.

    target: the same backend under another name, for the reply to go on with.
    """

    conversation: Conversation
    stories: Sequence[Story]
    seconds: Mapping[str, float]
    target: BackendSpec

    @property
    def patience(self) -> float:
        """The least factor of the usual budgets that gives no phase less than `seconds`."""
        return max(seconds / SECONDS[phase] for phase, seconds in self.seconds.items())


@pytest.fixture(scope="session", name="undisturbed")
def undisturbed_fixture(
    spec: BackendSpec, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    """Made once, for whichever module asks first."""
    stash = request.config.stash
    if _KEY not in stash:
        conversation = decided(tmp_path_factory.mktemp("conversation"))
        stories = []
        for _ in range(2):  # the first one may fill the driver's caches
            with TimedEngine(conversation.model, spec) as engine:
                stories.append(tell(engine, conversation))
        stash[_KEY] = Undisturbed(
            conversation, stories, budgets(stories[1:]), unharmed(f"{spec.name}-unharmed", spec)
        )
    return stash[_KEY]


def unharmed(name: str, of: BackendSpec) -> BackendSpec:
    """The same backend under another name, opened as if a person had asked for it."""
    return faulty(name, of=of, fault="slow", phase="open", seconds=0.0, floor=True)
