"""How long it took to notice a fault and to go on: a line of the run's summary each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import pytest

from forge.testing.storyteller import Story
from forge.testing.suite.conftest import LINES
from forge.testing.suite.gaps import UNNOTICED

Measured: TypeAlias = Callable[[str, str, Story], None]
_HEAD = f"{'fault':<12} {'phase':<8} {'detected after':>14} {'next token after':>17}"


@pytest.fixture(scope="session", name="measured")
def measured_fixture(request: pytest.FixtureRequest) -> Iterator[Measured]:
    """Note a story's times for the summary, with a head; what goes unseen comes last."""
    lines = request.config.stash.setdefault(LINES, [])

    def note(fault: str, phase: str, story: Story) -> None:
        if _HEAD not in lines:
            lines.append(_HEAD)
        detected, following = story.times()
        lines.append(f"{fault:<12} {phase:<8} {detected:>12.2f} s {following:>15.2f} s")

    yield note
    unseen = ", ".join(f"{fault} in {phase}" for fault, phase in UNNOTICED)
    line = f"not noticed by forge, whatever the backend: {unseen}"
    if _HEAD in lines and line not in lines:  # another module's fixture may have been here
        lines.append(line)
