"""What the screen looks like, in two sizes and two themes.

A snapshot is the text and, below it, a letter for each style in the order in which styles appear:
which words look alike, not in which colour. So a new release of Textual with another blue changes
nothing. FORGE_SNAPSHOTS=write writes them anew; look at the difference before you commit it.
"""

import asyncio
import os
import time
from pathlib import Path

import pytest
from rich.style import Style
from textual.color import Color
from textual.widgets import Input

from forge_tui.app import ChatApp
from forge_tui.talk import Talk

from .stage import NOWHERE, shows
from .test_transcript import TEXT

FOLDER = Path(__file__).parent / "snapshots"
SIZES = [(80, 24), (140, 40)]
THEMES = ["textual-dark", "textual-light"]
LEAST_CONTRAST = 3.0
"""WCAG 2.2, 1.4.11: what parts of an interface need at least."""


class Still(ChatApp):
    """Without an engine: nothing moves."""

    def begin(self) -> None:
        """Load nothing."""


def talk() -> Talk:
    told = Talk()
    asked = told.tree.add("user", "What is in the list?\nAnd in the table?", None)
    first = told.tree.add("assistant", "No idea.", asked)
    first.backend, first.tokens = "vulkan", 3
    second = told.tree.add("assistant", TEXT, asked)
    second.backend, second.tokens, second.meta = "cpu", 90, {"decode_tok_s": 41.7}
    again = told.tree.add("user", "Thank you.", second)
    reply = told.tree.add("assistant", "<think>They thank me.</think>You are wel", again)
    reply.backend, reply.tokens, reply.state = "cpu", 7, "stopped"
    return told


async def chat(app, pilot):
    app.model = app.status.model = "smollm2:135m"
    app.status.backend, app.status.device = "cpu", "Some CPU (8 threads)"
    app.status.context, app.status.used = 8192, 6500
    app.show_path()
    app.composer.fill("a draft\nof two lines")


async def fallback(app, pilot):
    await chat(app, pilot)
    app.banner.tell(
        "vulkan failed: no progress for 2.1 s in decode. the reply goes on with cpu "
        "after 42 tokens  (F7: more)"
    )


async def sampling(app, pilot):
    await chat(app, pilot)
    await pilot.press("f4")
    await shows(app, "max_tokens")
    for field in app.screen.query(Input):
        field.cursor_blink = False


async def manual(app, pilot):
    await pilot.press("f1")
    await shows(app, "/copy: the last reply")


async def at_rest(app):
    """The screen, once all of it is drawn and nothing changes any more."""
    before, end = [], time.monotonic() + 20
    while time.monotonic() < end:
        now = cells(app)
        if now == before and words(now[-1:]).strip():
            return now
        before = now
        await asyncio.sleep(0.2)
    raise TimeoutError(words(before))


def cells(app):
    """For each line of the screen, (character, style) of each segment's characters."""
    return [
        [(character, segment.style or Style()) for segment in strip for character in segment.text]
        for strip in app.screen._compositor.render_strips()
    ]


def picture(rows) -> str:
    letters: dict[Style, str] = {}
    grid = []
    for row in rows:
        for _, style in row:
            letters.setdefault(style.clear_meta_and_links(), chr(ord("a") + len(letters)))
        grid.append("".join(letters[style.clear_meta_and_links()] for _, style in row))
    return "\n".join([words(rows), *grid, ""])


def words(rows) -> str:
    return "".join("".join(c for c, _ in row).rstrip() + "\n" for row in rows)


def luminance(colour) -> float:
    """Relative, as WCAG 2.2 defines it."""
    parts = [part / 255 for part in Color.from_rich_color(colour).rgb]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * p for weight, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def faint(rows) -> list[str]:
    """Words that can hardly be told from what is behind them."""
    found = []
    for row in rows:
        for character, style in row:
            if character.isalnum() and style.color and style.bgcolor:
                dark, light = sorted(map(luminance, (style.color, style.bgcolor)))
                if (light + 0.05) / (dark + 0.05) < LEAST_CONTRAST:
                    found.append(f"{character} {style}")
    return found


def painted(scene, size, theme):
    """The cells of the screen after a scene."""

    async def main():
        app = Still(talk(), NOWHERE)
        async with app.run_test(size=size) as pilot:
            app.theme = theme
            app.composer.cursor_blink = False
            await at_rest(app)
            await scene(app, pilot)
            return await at_rest(app)

    return asyncio.run(main())


def compare(name, seen):
    path = FOLDER / f"{name}.txt"
    if os.environ.get("FORGE_SNAPSHOTS") == "write":
        path.write_text(seen, encoding="utf-8")
    assert seen == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("size", SIZES, ids=["80x24", "140x40"])
@pytest.mark.parametrize("scene", [chat, fallback])
def test_the_chat_looks_as_it_did_and_every_word_is_legible(scene, size, theme):
    rows = painted(scene, size, theme)
    theme = theme.removeprefix("textual-")
    compare(f"{scene.__name__}-{size[0]}x{size[1]}-{theme}", picture(rows))
    assert not faint(rows)


@pytest.mark.parametrize("scene", [sampling, manual])
def test_what_lies_over_the_chat_says_what_it_did(scene):
    compare(f"{scene.__name__}-80x24", words(painted(scene, SIZES[0], THEMES[0])))
