"""One message as the transcript holds it: what it is made of, and the lines that are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from textual.strip import Strip

from forge_tui.text.blocks import Block, Growing, plain
from forge_tui.text.shown import shown

if TYPE_CHECKING:
    from forge_tui.text.draw import Pen

Role = Literal["user", "assistant", "note", "warning"]

_THINK, _THOUGHT = "<think>", "</think>"
INDENT = 2
"""Columns in front of each line of a message."""


class Part:
    """A block, or one of the transcript's own lines; owns its lines once they are drawn."""

    def __init__(self, block: Block, style: str = "") -> None:
        self.block = block
        self.style = style
        self._strips: list[Strip] | None = None
        self._drawn_for: tuple[int, int] = (-1, -1)

    def height(self, width: int, age: int) -> int:
        """How many lines it takes: drawn ones counted, others estimated."""
        gap = 1 if self.block.last else 0
        if self._strips is not None and self._drawn_for == (width, age):
            return len(self._strips) + gap
        rows = self.block.source.count("\n") + 1
        return max(rows, len(self.block.source) // max(1, width)) + gap

    def is_drawn(self, width: int, age: int) -> bool:
        """Whether its lines are there, for that width and age of the pen."""
        return self._strips is not None and self._drawn_for == (width, age)

    def strips(self, pen: Pen, width: int, age: int) -> list[Strip]:
        """Its lines without the empty one that follows."""
        if self._strips is None or self._drawn_for != (width, age):
            if self.style:
                style = getattr(pen, self.style)
                self._strips = pen.line(self.block.source, style, width)
            else:
                self._strips = pen.lines(self.block, width)
            self._drawn_for = (width, age)
        return self._strips


def line(text: str, style: str, *, last: bool = False) -> Part:
    """A line of the transcript's own: a heading, a remark."""
    return Part(Block("text", shown(text), "", first=True, last=last), style)


@dataclass(slots=True)
class Entry:
    """Owns a message on the screen. `key` is what its messages name it by."""

    key: int
    role: Role
    heading: str
    text: str = ""
    unfolded: bool = False
    _answering: bool = False
    _thought: str = ""
    _growing: Growing = field(default_factory=Growing)
    _finished: list[Part] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Cut what there is already into blocks."""
        text, self.text = self.text, ""
        if text:
            self.append(text)

    def append(self, text: str) -> None:
        """Let it grow."""
        self.text += text
        if self.role != "assistant":
            return
        if self._answering:
            self._growing.append(text)
        else:
            self._begin()
        blocks = self._growing.finished
        self._finished = self._finished[: len(blocks)]
        self._finished += [Part(block) for block in blocks[len(self._finished) :]]

    def _begin(self) -> None:
        """The answer begins after the reasoning, if there is any."""
        start = self.text.lstrip()
        if start.startswith(_THINK):
            thought, closed, answer = start.removeprefix(_THINK).partition(_THOUGHT)
            self._thought, self._answering = thought, bool(closed)
            self._growing.append(answer.lstrip("\n"))
        elif not _THINK.startswith(start):
            self._answering = True
            self._growing.append(self.text)

    def parts(self, *, chosen: bool) -> list[Part]:
        """Everything that is drawn of it, from the heading to the end."""
        mark = "▸ " if chosen else ""
        style = "warning" if self.role == "warning" else "accent"
        if self.role in ("note", "warning"):
            return [line(f"{mark}{self.heading}", style if chosen else self._remark(), last=True)]
        found = [line(f"{mark}{self.heading}", style)]
        if self.role == "user":
            return found + [Part(block) for block in plain(self.text)]
        if self._thought:
            words = len(self._thought.split())
            sign = "▾" if self.unfolded else "▸"
            found.append(line(f"{sign} reasoning, {words} words", "muted", last=True))
            if self.unfolded:
                found += [Part(block, "muted") for block in plain(self._thought.strip())]
        return found + self._finished + [Part(block) for block in self._growing.open]

    def _remark(self) -> str:
        return "warning" if self.role == "warning" else "muted"
