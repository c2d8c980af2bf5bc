"""A text as a terminal may get it."""

from __future__ import annotations

_CONTROLS: dict[int, int | str] = {
    c: 0xFFFD for c in (*range(32), *range(127, 160)) if chr(c) not in "\n\t"
}
_CONTROLS |= {ord("\r"): "", ord("\t"): "    "}
"""A terminal must not obey what a model writes."""


def shown(text: str) -> str:
    """A text without what moves a cursor or begins a command to the terminal."""
    return text.translate(_CONTROLS)
