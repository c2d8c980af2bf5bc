"""Special tokens in text, against llama.cpp's own way of looking for them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.tokenizer.special import Partition


def partition_of(tokens: Sequence[str]) -> Partition:
    return Partition({token: at for at, token in enumerate(tokens)})


def the_slow_way(tokens: Sequence[str], text: str) -> list[int | str]:
    """Each token in turn, longest first, cuts all text that is left."""
    parts: list[int | str] = [text]
    for token in sorted(tokens, key=len, reverse=True):
        cut: list[int | str] = []
        for part in parts:
            if isinstance(part, int):
                cut.append(part)
                continue
            first, *rest = part.split(token)
            cut.append(first)
            for piece in rest:
                cut += (tokens.index(token), piece)
        parts = cut
    return [part for part in parts if part != ""]


def test_text_without_tokens_stays_whole() -> None:
    assert partition_of(["<a>"])("x <a y") == ["x <a y"]
    assert partition_of([])("x") == ["x"]
    assert partition_of(["<a>"])("") == []


def test_a_token_is_cut_out_wherever_it_stands() -> None:
    assert partition_of(["<a>", "<b>"])("<a>x<b><b>") == [0, "x", 1, 1]


def test_the_longer_token_wins_even_if_it_starts_later() -> None:
    assert partition_of(["ab", "bcd"])("xabcd") == ["xa", 1]
    assert partition_of(["\n", "\n\n"])("\n\n\n") == [1, 0]


def test_text_on_both_sides_of_an_overlap_stays_in_one_piece() -> None:
    assert partition_of(["   "])("     don") == [0, "  don"]


@given(
    st.lists(st.text("ab<", min_size=1, max_size=4), unique_by=len, max_size=4),
    st.text("ab<>", max_size=24),
)
def test_any_text_is_cut_as_if_the_tokens_were_tried_one_by_one(
    tokens: list[str], text: str
) -> None:
    assert partition_of(tokens)(text) == the_slow_way(tokens, text)


@pytest.mark.parametrize(
    ("text", "expected"), [("a <m>\n b", ["a ", 0, "b"]), ("<m> <m> ", [0, 0]), (" <m>", [" ", 0])]
)
def test_a_token_may_swallow_the_space_after_it(text: str, expected: list[int | str]) -> None:
    assert Partition({"<m>": 0}, strip_right=[0])(text) == expected


def test_a_token_may_swallow_the_space_before_it() -> None:
    assert Partition({"<m>": 0}, strip_left=[0])("a \t<m> b") == ["a", 0, " b"]
