"""Markdown that grows, cut into blocks: only the last of them can still change.

A block that is followed by another one at the top level is finished, whatever comes later. So the
cost of a token does not depend on how long the reply is. Code, lists and paragraphs that get long
are finished in parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

Kind = Literal["markdown", "code", "text"]

_CODE_LINES = 48
_LIST_LINES = 60
_PARAGRAPH = 4000
"""Lines and characters from which the beginning of an open block is finished."""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a message: Markdown, code in a language, or text as it is.

    `first` and `last` are False inside of a block that is drawn in parts.
    """

    kind: Kind
    source: str
    language: str = ""
    first: bool = True
    last: bool = True


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt  # the first paint does not wait for it

    return MarkdownIt().enable("strikethrough").enable("table")


class Growing:
    """Owns a Markdown text as it grows: the blocks that are finished, and what follows them."""

    def __init__(self, text: str = "") -> None:
        self.finished: list[Block] = []
        self._tail = ""
        self._tokens: list[Token] = []
        self._continued = False
        if text:
            self.append(text)

    @property
    def open(self) -> list[Block]:
        """The block that may still change; none before the first character."""
        if not self._tail.strip():
            return []
        return list(self._blocks(self._tail, self._tokens, last=True))

    def append(self, text: str) -> None:
        """Let it grow."""
        self._tail += text
        lines = self._tail.split("\n")
        tokens = _top(_parser().parse(self._tail))
        if len(tokens) > 1:
            start = _lines(tokens[-1])[0]
            self.finished += self._blocks("\n".join(lines[:start]), tokens[:-1], last=True)
            self._tail, self._continued = "\n".join(lines[start:]), False
            tokens = _top(_parser().parse(self._tail))
        if tokens and (cut := _cut(self._tail)):
            head, rest = cut
            self.finished += self._blocks(head, _top(_parser().parse(head)), last=False)
            self._tail, self._continued = rest, True
            tokens = _top(_parser().parse(rest))
        self._tokens = tokens

    def _blocks(self, text: str, tokens: list[Token], *, last: bool) -> Iterator[Block]:
        """The blocks of a text; the first may go on from what is finished already."""
        lines = text.split("\n")
        starts = [_lines(token)[0] for token in tokens]
        ends = [*starts[1:], len(lines)]
        for number, (token, start, end) in enumerate(zip(tokens, starts, ends, strict=True)):
            first = number > 0 or not self._continued
            ending = last or number < len(tokens) - 1
            if token.type == "fence":
                words = token.info.split()
                language = words[0] if words else ""
                yield Block("code", token.content.rstrip("\n"), language, first, ending)
            elif token.type == "code_block":
                yield Block("code", token.content.rstrip("\n"), "", first, ending)
            else:
                source = "\n".join(lines[start:end])
                yield Block("markdown", source, "", first, ending)


def _top(tokens: list[Token]) -> list[Token]:
    """Those that begin a block at the top level."""
    return [token for token in tokens if token.level == 0 and token.map and token.nesting >= 0]


def _lines(token: Token) -> tuple[int, int]:
    start, end = token.map or (0, 0)
    return start, end


def _cut(tail: str) -> tuple[str, str] | None:
    """The beginning of an open block that has become long, and the rest."""
    lines = tail.split("\n")
    if len(lines) <= _CODE_LINES and len(tail) <= _PARAGRAPH:
        return None
    tokens = _parser().parse(tail)
    (top,) = _top(tokens) or (None,)
    if top is None:
        return None
    if top.type == "fence" and len(lines) > _CODE_LINES + 2:
        if _closed(lines, top):
            return None
        opening, body = lines[0], lines[1:]
        head = "\n".join([opening, *body[:_CODE_LINES]])
        return head, "\n".join([opening, *body[_CODE_LINES:]])
    if top.type in ("bullet_list_open", "ordered_list_open") and len(lines) > _LIST_LINES:
        items = [t for t in tokens if t.type == "list_item_open" and t.level == 1]
        start = _lines(items[-1])[0]
        return ("\n".join(lines[:start]), "\n".join(lines[start:])) if start else None
    if top.type == "paragraph_open" and len(tail) > _PARAGRAPH:
        space = tail.rfind(" ", 0, _PARAGRAPH)
        place = space + 1 if space > 0 else _PARAGRAPH
        return tail[:place], tail[place:]
    return None


def _closed(lines: list[str], fence: Token) -> bool:
    _, end = _lines(fence)
    last = lines[min(end, len(lines)) - 1].strip()
    return end > 1 and len(last) >= len(fence.markup) and set(last) == set(fence.markup[:1])


def code_blocks(text: str) -> list[str]:
    """The code in a Markdown text, wherever it stands."""
    return [token.content for token in _parser().parse(text) if token.type == "fence"]


def plain(text: str, lines: int = 50) -> list[Block]:
    """A text as it is, in parts of so many lines: what a person pasted may be long."""
    rows = text.split("\n")
    parts = ["\n".join(rows[start : start + lines]) for start in range(0, len(rows), lines)]
    count = len(parts)
    return [
        Block("text", part, "", number == 0, number == count - 1)
        for number, part in enumerate(parts)
    ]
