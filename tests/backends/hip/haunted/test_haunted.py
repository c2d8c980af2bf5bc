"""The driver is haunted, and the person gets the whole reply."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.backends.hip.haunted.conftest import COUNT, Haunt, Seen
from tests.backends.hip.haunted.stories import FAILURES, HANGS, NEVER, PASSES, Story

Told = Callable[[str, Seen], None]
pytestmark = pytest.mark.timeout(240)  # the first compiles every kernel, with g++
_CLOSED = 20.0
"""Seconds in which an engine is closed, whatever its worker does."""


def _name(story: Story) -> str:
    return story.name


def test_what_forge_never_does_cannot_hang_it(haunt: Haunt, told: Told) -> None:
    story = Story("", {"fault": ";".join(NEVER.values()), "strict": "hang", "storm": "8"})
    seen = haunt(story)
    for name in NEVER:
        told(name, seen)
    assert (seen.done.backend, seen.moved) == ("hip", ())
    assert len(seen.done.tokens) == COUNT
    assert not [name for name in seen.counts if name.startswith(("misuse:", "fault:"))]
    assert 1 <= seen.counts["hipMalloc"] <= 4 * seen.counts["hipSetDevice"]


@pytest.mark.parametrize("story", PASSES, ids=_name)
def test_a_driver_that_is_odd_but_works_is_no_reason_to_move(
    story: Story, haunt: Haunt, told: Told
) -> None:
    seen = haunt(story)
    told(story.name, seen)
    assert (seen.done.backend, seen.moved) == ("hip", ())
    assert len(seen.done.tokens) == COUNT
    assert seen.closed < _CLOSED


@pytest.fixture(scope="session")
def known() -> list[tuple[int, ...]]:
    """The reply of HIP that nothing disturbed, once it was asked for."""
    return []


@pytest.mark.parametrize("story", [*HANGS, *FAILURES], ids=_name)
def test_the_reply_goes_on_and_the_person_is_told(
    story: Story, haunt: Haunt, told: Told, known: list[tuple[int, ...]]
) -> None:
    if story.late and not known:
        known.append(haunt(Story("", {})).done.tokens)
    seen = haunt(story)
    told(story.name, seen)
    moved = seen.moved[-1]
    assert (moved.source, moved.target) == ("hip", "cpu")
    assert story.says in moved.reason
    assert (moved.at_token > 0) == story.late
    if story.late:
        assert seen.done.tokens[: moved.at_token] == known[0][: moved.at_token]
    assert len(seen.done.tokens) == COUNT
    assert seen.closed < _CLOSED


def test_a_card_that_computes_wrongly_after_a_reset_is_not_used(haunt: Haunt, told: Told) -> None:
    lost = Story(
        "the device is lost", {"fault": "device[attention_decode]=lost"}, "lost", late=True
    )
    assert haunt(lost).done.backend == "cpu"
    story = Story(
        "after a reset the card computes wrongly",
        {"fault": "device[wounded matvec]=corrupt"},
        "",
    )
    seen = haunt(story)
    told(story.name, seen)
    assert seen.done.backend == "cpu"
    assert "wrongly" in seen.moved[-1].reason
    assert seen.moved[-1].at_token == 0
