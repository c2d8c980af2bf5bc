r"""Cut text into words by a pre-tokenizer's stages, each applied to the pieces of the one before.

A stage is a regex or a function from class bytes (unicode.py) to the pieces' lengths. A regex with
\pL, \pN, \pP, \pM or \pS, always inside [...], runs on class bytes, any other on the characters.
What lies between two matches is a piece as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

from forge.tokenizer import unicode

Stage = str | Callable[[bytes], list[int]]

# A class's byte and its ASCII members.
CATEGORIES = {
    r"\pN": "\xd10-9",
    r"\pL": "\xd2A-Za-z",
    r"\pP": r"\xd3!-#%-*,-/:;?@\[-\]_{}",
    r"\pM": "\xd4",
    r"\pS": r"\xd5$+<=>\^`|~",
}
# Letters but ASCII's lower case, and but its upper case: beyond ASCII there is one class for both.
NOT_LOWER, NOT_UPPER = "\xd2A-Z", "\xd2a-z"
# With WordSplitter(han=True): every Han character, and those of them that are letters.
HAN, HAN_LETTER = "\xd6\xd7", "\xd6"

_DIGITS = re.compile(rb"[\xd10-9]+")
_ASCII_DIGITS = re.compile(rb"[0-9]+")


class WordSplitter:
    """The compiled stages of one pre-tokenizer."""

    def __init__(self, stages: Sequence[Stage], *, han: bool = False) -> None:
        self._han = han
        self._stages = [_compile(stage) for stage in stages]

    def lengths(self, text: str) -> list[int]:
        """The words' lengths in characters; they add up to the text's."""
        classes = unicode.collapse(text, han=self._han)
        characters = unicode.narrow_spaces(text)
        lengths = [len(text)]
        for on_classes, cut in self._stages:
            source = classes if on_classes else characters
            refined: list[int] = []
            start = 0
            for length in lengths:
                if length == 1:
                    refined.append(1)
                else:
                    refined += filter(None, cut(source[start : start + length]))
                start += length
            lengths = refined
        return lengths

    def split(self, text: str) -> list[str]:
        """The words; joined they are the text."""
        words, start = [], 0
        for length in self.lengths(text):
            words.append(text[start : start + length])
            start += length
        return words


def _compile(stage: Stage) -> tuple[bool, Callable[[Any], Iterable[int]]]:
    """Whether the stage reads class bytes, and the function from a piece to the lengths in it."""
    if not isinstance(stage, str):
        return True, stage
    expanded = stage
    for name, members in CATEGORIES.items():
        expanded = expanded.replace(name, members)
    # One group around all makes re.split return the matches between the gaps.
    if expanded != stage:
        of_classes = re.compile(b"(" + expanded.encode("latin-1") + b")").split
        return True, lambda piece: map(len, of_classes(piece))
    of_characters = re.compile(f"({stage})", re.ASCII).split
    return False, lambda piece: map(len, of_characters(piece))


def end_after_thousands(classes: bytes) -> list[int]:
    """A piece ends after each group of three digits, counted from a number's right end.

    Text before a number stays with its first group: llama.cpp's unicode_regex_split_custom_afmoe.
    """
    ends: list[int] = []
    for match in _DIGITS.finditer(classes):
        start, end = match.span()
        ends += range(start + ((end - start) % 3 or 3), end + 1, 3)
    return _pieces(ends, len(classes))


def start_before_thousands(classes: bytes) -> list[int]:
    r"""A piece starts at each group of three digits, counted from a number's right end.

    The regex is (?=(\d{3})+(?!\d)); this is linear in a number's length.
    """
    starts: list[int] = []
    for match in _ASCII_DIGITS.finditer(classes):
        start, end = match.span()
        starts += range(start + (end - start) % 3, end, 3)
    return _pieces(starts, len(classes))


def halve_spaces(classes: bytes) -> list[int]:
    r"""A run of spaces without newlines falls into the powers of two from 512 down that fit.

    The regex is \s{512}(?!\S)|\s{256}(?!\S)|..|\s{4}(?!\S)|\s{1,2}(?!\S)|\s behind the others of
    its pattern, which would read a long run to its end anew for each piece.
    """
    if classes.strip(b" \t\v\f"):
        return [len(classes)]
    count, rest = divmod(len(classes), 512)
    return [512] * count + [1 << bit for bit in range(8, -1, -1) if rest >> bit & 1]


def _pieces(cuts: list[int], size: int) -> list[int]:
    """The lengths between ascending cuts."""
    bounds = [0, *cuts, size]
    return [after - before for before, after in pairwise(bounds)]
