"""Rows of a gauge: a label, a value in words, and a bar or a sparkline where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from textual.content import Content

Level: TypeAlias = Literal["", "dim", "good", "warning", "error"]
_STYLES = {
    "": "",
    "dim": "$text-muted",
    "good": "$text-success",
    "warning": "$text-warning",
    "error": "$text-error",
}
_LABEL = 9
_BARS = "▁▂▃▄▅▆▇█"
_SHORTEST_BAR = 4


@dataclass(frozen=True, slots=True)
class Row:
    """share: of one, drawn as a bar. history: drawn as a sparkline from 0 to `top`, or to its most.

    The value says everything that a bar shows: a screen reader and a terminal without colours lose
    nothing. A row without a label goes on with the one above.
    """

    label: str
    value: str
    level: Level = ""
    share: float | None = None
    history: tuple[float, ...] = ()
    top: float | None = None


def drawn(rows: Sequence[Row], width: int) -> Content:
    """The rows, one or more lines each, for so many columns."""
    lines: list[Content] = []
    for row in rows:
        lines += _lines(row, max(20, width))
    return Content("\n").join(lines)


def _lines(row: Row, width: int) -> list[Content]:
    label = Content.styled(f"{row.label:{_LABEL}} ", "$text-muted")
    room = width - _LABEL - 1
    pieces = wrapped(clean(row.value), room)
    lines = [
        Content.assemble(label if not index else " " * (_LABEL + 1), (piece, _STYLES[row.level]))
        for index, piece in enumerate(pieces)
    ]
    left = room - len(pieces[-1]) - 1
    if row.share is not None and left >= _SHORTEST_BAR:
        style = _STYLES[row.level] or "$text-accent"
        lines[-1] = Content.assemble(lines[-1], " ", (bar(row.share, min(left, 12)), style))
    if row.history:
        graph = sparkline(row.history, room, row.top)
        lines.append(Content.assemble(" " * (_LABEL + 1), (graph, "$text-accent")))
    return lines


def bar(share: float, width: int) -> str:
    """A share of one; anything more than nothing shows."""
    full = min(width, max(round(share * width), 1 if share > 0 else 0))
    return "━" * full + "╌" * (width - full)


def sparkline(history: Sequence[float], width: int, top: float | None = None) -> str:
    """The latest samples, one a column, the last on the right."""
    shown = history[-width:]
    most = max(top or 0.0, *shown)
    if most <= 0:
        return _BARS[0] * len(shown)
    steps = len(_BARS) - 1
    return "".join(_BARS[min(steps, max(0, round(value / most * steps)))] for value in shown)


def wrapped(text: str, width: int) -> list[str]:
    """Lines of whole words where they fit; at least one line."""
    lines = [""]
    for word in text.split(" "):
        while len(word) > width:
            room = width - len(lines[-1]) - bool(lines[-1])
            if room <= 0:
                lines.append("")
                continue
            lines[-1] += (" " if lines[-1] else "") + word[:room]
            word = word[room:]
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append(word)
        else:
            lines[-1] += (" " if lines[-1] else "") + word
    return lines


def clean(text: str) -> str:
    """On one line, without what a terminal would obey: drivers and files are foreign."""
    return "".join(c if c.isprintable() else " " for c in text)
