"""Find special tokens in text: control tokens, and tokens that the model's author defined."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

WHITESPACE = " \t\n\v\f\r"  # of C's isspace


class Partition:
    """Cuts text into token ids and the text between them.

    llama.cpp looks for the longest token in the whole text, then for the next longest in what is
    left, and so on (tokenizer_st_partition). That differs from a scan for the longest token at
    each place only where two occurrences overlap, so here the scan finds the places, and only a
    stretch of overlapping occurrences is cut the slow way. `strip_left` and `strip_right` are
    tokens that swallow the whitespace before or after them.
    """

    def __init__(
        self,
        tokens: Mapping[str, int],
        *,
        strip_left: Iterable[int] = (),
        strip_right: Iterable[int] = (),
    ) -> None:
        self._tokens = tokens
        self._strip_left = frozenset(strip_left)
        self._strip_right = frozenset(strip_right)
        # Longest first, in bytes as llama.cpp counts; of equal ones the first in the vocabulary.
        self._ordered = sorted(tokens, key=lambda text: -len(text.encode("utf-8", "replace")))
        lengths: dict[str, set[int]] = {}
        for text in tokens:
            lengths.setdefault(text[:2], set()).add(len(text))
        self._lengths = {start: sorted(found, reverse=True) for start, found in lengths.items()}
        self._scan = _starts(self._lengths)

    def __call__(self, text: str) -> list[int | str]:
        """Ids and non-empty texts in order."""
        if self._scan is None or self._scan.search(text) is None:
            return [text] if text else []
        parts: list[int | str] = []
        begin = 0  # of the text that no token has taken yet
        for start, end, token in self._stretches(text):
            taken = self._cut(text, start, end) if token is None else [(start, end, token)]
            for at, stop, found in taken:
                parts += (text[begin:at], found)
                begin = stop
        parts.append(text[begin:])
        if self._strip_left or self._strip_right:
            self._strip(parts)
        return [part for part in parts if part != ""]

    def _stretches(self, text: str) -> Iterable[tuple[int, int, int | None]]:
        """Occurrences that overlap no other one but those inside them; None: overlapping ones."""
        begin = end = -1
        token: int | None = None
        for match in self._scan.finditer(text) if self._scan else ():
            start = match.start()
            found = self._longest_at(text, start)
            if found is None:
                continue
            stop = start + len(found)
            if start >= end:
                if end > begin:
                    yield begin, end, token
                begin, end, token = start, stop, self._tokens[found]
            elif stop > end:
                end, token = stop, None
        if end > begin:
            yield begin, end, token

    def _longest_at(self, text: str, start: int) -> str | None:
        for key in (text[start : start + 2], text[start : start + 1]):
            for length in self._lengths.get(key, ()):
                candidate = text[start : start + length]
                if candidate in self._tokens:
                    return candidate
        return None

    def _cut(self, text: str, start: int, end: int) -> list[tuple[int, int, int]]:
        """Occurrences in a stretch, in llama.cpp's way: token by token, in what is left."""
        free = [(start, end)]
        found: list[tuple[int, int, int]] = []
        stretch = text[start:end]
        characters = set(stretch)
        for token in self._ordered:
            if not characters.issuperset(token) or token not in stretch:
                continue
            left: list[tuple[int, int]] = []
            for begin, stop in free:
                while (at := text.find(token, begin, stop)) >= 0:
                    found.append((at, at + len(token), self._tokens[token]))
                    if at > begin:
                        left.append((begin, at))
                    begin = at + len(token)
                if stop > begin:
                    left.append((begin, stop))
            free = left
        return sorted(found)

    def _strip(self, parts: list[int | str]) -> None:
        for at, part in enumerate(parts):
            if not isinstance(part, str):
                continue
            if at and parts[at - 1] in self._strip_right:
                part = part.lstrip(WHITESPACE)
            if at + 1 < len(parts) and parts[at + 1] in self._strip_left:
                part = part.rstrip(WHITESPACE)
            parts[at] = part


def _starts(starts: Iterable[str]) -> re.Pattern[str] | None:
    """Matches, without consuming, where a token of one of these first two characters may begin."""
    seconds: dict[str, list[str]] = {}
    for start in starts:
        seconds.setdefault(start[0], []).append(start[1:])
    if not seconds:
        return None
    branches = []
    for first, following in seconds.items():
        rest = "" if "" in following else f"(?=[{''.join(map(re.escape, following))}])"
        branches.append(re.escape(first) + rest)
    return re.compile("|".join(branches))
