"""Stop strings: where they stop, whatever the pieces."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.errors import UsageError
from forge.sampling import StopMatcher


def shown(stops: list[str], pieces: list[str]) -> tuple[str, bool]:
    matcher, text = StopMatcher(stops), ""
    for piece in pieces:
        emitted, stopped = matcher.push(piece)
        text += emitted
        if stopped:
            break
    return text + matcher.finish(), matcher.stopped


def shown_by_definition(stops: list[str], text: str) -> tuple[str, bool]:
    for end in range(1, len(text) + 1):
        starts = [end - len(s) for s in stops if text[:end].endswith(s)]
        if starts:
            return text[: min(starts)], True
    return text, False


few_letters = st.text("ab", max_size=12)


@given(
    st.lists(st.text("ab", min_size=1, max_size=5), max_size=3),
    st.lists(st.text("ab", max_size=4), max_size=8),
)
def test_the_pieces_do_not_matter(stops: list[str], pieces: list[str]) -> None:
    assert shown(stops, pieces) == shown_by_definition(stops, "".join(pieces))


@given(st.text("ab", min_size=1, max_size=5), st.text("abc", max_size=20))
def test_only_what_could_become_a_stop_string_is_held_back(stop: str, text: str) -> None:
    matcher, out = StopMatcher([stop]), ""
    for letter in text:
        emitted, stopped = matcher.push(letter)
        out += emitted
        if stopped:
            return
        seen = text[: len(out) + len(matcher.finish())]
        matcher = StopMatcher([stop])
        matcher.push(seen[len(out) :])
        assert stop.startswith(seen[len(out) :])


def test_a_stop_string_across_pieces_is_never_shown() -> None:
    assert shown(["<|end|>"], ["Hello <", "|en", "d|> more"]) == ("Hello ", True)


def test_text_that_only_began_like_a_stop_string_is_shown_in_the_end() -> None:
    matcher = StopMatcher(["\n\nUser:"])
    assert matcher.push("line\n\nUs") == ("line", False)
    assert matcher.push("ed") == ("\n\nUsed", False)
    assert matcher.push("\n") == ("", False)
    assert matcher.finish() == "\n"


def test_the_stop_string_that_is_complete_first_wins() -> None:
    assert shown(["abcd", "bc"], ["abcd"]) == ("a", True)
    assert shown(["c", "abc"], ["xabc"]) == ("x", True)


def test_nothing_comes_after_the_stop() -> None:
    matcher = StopMatcher(["."])
    assert matcher.push("Yes. No") == ("Yes", True)
    assert matcher.push(" more") == ("", True)
    assert matcher.finish() == ""


def test_without_stop_strings_text_passes_at_once() -> None:
    assert StopMatcher([]).push("text") == ("text", False)


@pytest.mark.parametrize("stops", ["stop", [""], ["a", ""], [None], [3]])
def test_what_is_no_stop_string_is_refused(stops: Any) -> None:
    with pytest.raises(UsageError, match="stop string"):
        StopMatcher(stops)
