"""Cutting text into words: the engine under the pre-tokenizers."""

from __future__ import annotations

import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.tokenizer import unicode
from forge.tokenizer.pretokenizers import RULES
from forge.tokenizer.words import WordSplitter, end_after_thousands, start_before_thousands


@pytest.mark.parametrize("pre", RULES)
@given(text=st.text())
def test_the_words_of_any_text_are_the_text(pre: str, text: str) -> None:
    rules = RULES[pre]
    words = WordSplitter(rules.stages, han=rules.han).split(text)
    assert "".join(words) == text
    assert "" not in words


def test_each_stage_cuts_what_the_one_before_left() -> None:
    assert WordSplitter([r"[\pN]"]).split("ab12c") == ["ab", "1", "2", "c"]
    assert WordSplitter([r"[\pN]", "a"]).split("ab12c") == ["a", "b", "1", "2", "c"]


def test_a_look_ahead_sees_no_further_than_its_piece() -> None:
    assert WordSplitter([r"\s+(?!\S)"]).split("a  b") == ["a", " ", " b"]
    assert WordSplitter([r"[\pL]", r"\s+(?!\S)"]).split("a  b") == ["a", "  ", "b"]


def test_classes_reach_beyond_ascii_and_whitespace_is_whitespace_everywhere() -> None:
    assert WordSplitter([r"[\pL]+"]).split("1é日ſ2") == ["1", "é日ſ", "2"]
    assert WordSplitter([r"[\pN]+"]).split("a٣²Ⅷ") == ["a", "٣²Ⅷ"]
    assert WordSplitter([r"\s+"]).split("a\u00a0\u3000b") == ["a", "\u00a0\u3000", "b"]
    assert WordSplitter([r"[^\s\pL]+"]).split("a\u2028!") == ["a\u2028", "!"]


@pytest.mark.parametrize(
    ("text", "ending", "starting"),
    [
        ("1234567", [1, 3, 3], [1, 3, 3]),
        ("ab1234c", [3, 3, 1], [3, 4]),
        ("123", [3], [3]),
        ("ab", [2], [2]),
        ("12", [2], [2]),
    ],
)
def test_digits_are_grouped_from_the_right(
    text: str, ending: list[int], starting: list[int]
) -> None:
    assert list(filter(None, end_after_thousands(text.encode()))) == ending
    assert list(filter(None, start_before_thousands(text.encode()))) == starting


def test_class_bytes_agree_with_unicodedata_wherever_a_character_is_older_than_both() -> None:
    """The table is of Unicode 15.1; a later version re-sorts an old character once in a while."""
    names = {"L": "L", "N": "N", "M": "M", "P": "P", "S": "S"}
    table = unicode.collapse("".join(map(chr, _characters())))
    different = [
        hex(code)
        for code, found in zip(_characters(), table, strict=True)
        if (category := unicodedata.category(chr(code))) != "Cn"
        and found != unicode.CLASSES["W"]
        and found != unicode.CLASSES["O"]
        and found != unicode.CLASSES[names.get(category[0], "O")]
    ]
    assert len(different) <= 20, different


def test_class_bytes_hold_every_space_that_python_knows_but_the_ascii_separators() -> None:
    table = unicode.collapse("".join(map(chr, _characters())))
    spaces = [chr(code) for code, found in zip(_characters(), table, strict=True) if found == 0x0B]
    assert spaces == [chr(code) for code in _characters() if chr(code).isspace()]


def _characters() -> list[int]:
    return [code for code in range(0x80, sys.maxunicode + 1) if not 0xD800 <= code < 0xE000]
