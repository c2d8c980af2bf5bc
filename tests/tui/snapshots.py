"""Compares a screen with how it was: every character, and the colours and styles of every run.

`FORGE_SNAPSHOTS=update pytest …` writes them anew; look at the difference before it is committed.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from textual.app import App

FOLDER = Path(__file__).parent / "snapshots"
_HINT = "if that is meant: FORGE_SNAPSHOTS=update pytest tests/tui, and look at the difference"


def drawn(app: App[object]) -> str:
    """The screen's lines, and below them the styles of each line that are not its first ones."""
    text, styles = [], []
    for number, strip in enumerate(app.screen._compositor.render_strips()):
        text.append(strip.text.rstrip())
        runs: list[str] = []
        before = None
        column = 0
        for segment in strip:
            style = segment.style
            words = str(style.without_color) if style else ""
            if style and style.color:
                words += f" {style.color.name}"
            if style and style.bgcolor:
                words += f" on {style.bgcolor.name}"
            words = words.replace("none", "").strip()
            if words != before:
                runs.append(f"{column} {words}")
                before = words
            column += segment.cell_length
        styles.append(f"{number}: {'; '.join(runs)}")
    return "\n".join([*text, "", "styles", *styles]) + "\n"


def check(app: App[object], name: str) -> None:
    """Fail with the difference where the screen is not as it was."""
    path, now = FOLDER / f"{name}.txt", drawn(app)
    if os.environ.get("FORGE_SNAPSHOTS") == "update":
        FOLDER.mkdir(exist_ok=True)
        path.write_text(now, encoding="utf-8")
        return
    assert path.exists(), f"there is no snapshot {path.name}: {_HINT}"
    was = path.read_text(encoding="utf-8")
    difference = difflib.unified_diff(was.splitlines(), now.splitlines(), "was", "is", "", "", 1)
    assert now == was, "\n".join([*difference, _HINT])
