"""How long it took to notice a fault and to go on: a line of the run's summary each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import pytest

from forge.testing.storyteller import Story
from forge.testing.suite.conftest import LINES

Measured: TypeAlias = Callable[[str, str, Story], None]
_HEAD = f"{'fault':<12} {'phase':<8} {'detected after':>14} {'next token after':>17}"


@pytest.fixture(scope="session", name="measured")
def measured_fixture(request: pytest.FixtureRequest) -> Measured:
    """Note a story's times for the summary, with a head."""
    lines = request.config.stash.setdefault(LINES, [])

    def note(fault: str, phase: str, story: Story) -> None:
        if _HEAD not in lines:
            lines.append(_HEAD)
        detected, following = story.times()
        lines.append(f"{fault:<12} {phase:<8} {detected:>12.2f} s {following:>15.2f} s")

    return note
