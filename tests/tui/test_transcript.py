"""Markdown as it grows: what is finished stays, and long conversations cost no more than short."""

import asyncio

import pytest
from textual.app import App

from forge_tui.text.blocks import Growing, code_blocks
from forge_tui.text.draw import Pen
from forge_tui.text.shown import shown
from forge_tui.widgets.entry import Entry
from forge_tui.widgets.transcript import Transcript

TEXT = """# Title

A paragraph with **bold** and `code`
over two lines.

- one
- two
  - three

```python
def f():
    return 1
```

| a | b |
|---|---|
| 1 | 2 |

1. first
2. second

> quoted

The end."""


def drawn(blocks, width=60):
    pen = Pen({}, dark=True)
    return [strip.text.rstrip() for block in blocks for strip in pen.lines(block, width)]


@pytest.mark.parametrize("step", [1, 3, 7, 1000])
def test_a_text_that_comes_in_pieces_looks_like_the_whole(step):
    whole, pieces = Growing(TEXT), Growing()
    for start in range(0, len(TEXT), step):
        pieces.append(TEXT[start : start + step])
    assert drawn(pieces.finished + pieces.open) == drawn(whole.finished + whole.open)
    assert [block.kind for block in whole.finished].count("code") == 1


def test_what_is_finished_never_changes():
    growing = Growing()
    seen = []
    for character in TEXT:
        growing.append(character)
        assert growing.finished[: len(seen)] == seen
        seen = list(growing.finished)


@pytest.mark.parametrize(
    ("opening", "line"),
    [("```python\n", "x = 1\n"), ("", "- an item\n"), ("", "words and words "), ("", "1. a\n")],
)
def test_the_open_end_of_a_long_block_stays_short(opening, line):
    growing = Growing(opening)
    for _ in range(2000):
        growing.append(line)
    assert sum(len(block.source) for block in growing.open) < 8000
    assert len(growing.finished) > 3


def test_code_drawn_in_parts_is_one_block_with_one_head():
    growing = Growing("```python\n" + "x = 1\n" * 500 + "```\n\nend")
    code = [block for block in growing.finished if block.kind == "code"]
    assert [block.first for block in code] == [True] + [False] * (len(code) - 1)
    assert [block.last for block in code] == [False] * (len(code) - 1) + [True]
    assert "\n".join(block.source for block in code).split("\n") == ["x = 1"] * 500


def test_a_terminal_does_not_obey_what_a_model_writes():
    text = "a\x1b]0;title\x07b\x9b2Jc\r\n"
    assert not set(shown(text)) & {"\x1b", "\x07", "\x9b", "\r"}
    growing = Growing("```\n" + text + "```\n\n" + text)
    for line in drawn(growing.finished + growing.open):
        assert line.isprintable()


def test_code_is_found_wherever_it_stands():
    assert code_blocks("- a\n\n  ```\n  x\n  ```\n\n~~~\ny\n~~~") == ["x\n", "y\n"]


def test_reasoning_is_folded_until_it_is_asked_for():
    entry = Entry(1, "assistant", "model")
    for piece in ("<th", "ink>let me", " see</thi", "nk>\n\nAnswer", " here"):
        entry.append(piece)
    shown_now = [part.block.source for part in entry.parts(chosen=False)]
    assert shown_now == ["model", "▸ reasoning, 3 words", "Answer here"]
    entry.unfolded = True
    assert "let me see" in [part.block.source for part in entry.parts(chosen=False)]


def on_screen(scene, size=(80, 24)):
    class Stage(App):
        def compose(self):
            yield Transcript()

    async def main():
        app = Stage()
        async with app.run_test(size=size) as pilot:
            await scene(app.query_one(Transcript), pilot)

    asyncio.run(main())


def rows(transcript):
    return [transcript.render_line(y).text.rstrip() for y in range(transcript.size.height)]


def test_ten_thousand_lines_draw_only_what_is_in_sight():
    async def scene(transcript, pilot):
        entries = [
            Entry(key, "assistant", "model", "\n\n".join(f"line {key}.{n}" for n in range(50)))
            for key in range(1, 101)
        ]
        transcript.show(entries)
        await pilot.pause()
        assert transcript.virtual_size.height > 10_000
        parts = [part for part in transcript._parts if part._strips is not None]
        assert len(parts) < 100
        assert rows(transcript)[-2] == "  line 100.49"
        transcript.grow(100, "\n\nmore")
        await pilot.pause()
        assert rows(transcript)[-2] == "  more"
        transcript.focus()
        await pilot.press("home")
        await pilot.pause(0.5)
        assert rows(transcript)[:3] == ["  model", "  line 1.0", ""]
        transcript.grow(100, " and more")
        await pilot.pause()
        assert rows(transcript)[0] == "  model"

    on_screen(scene)


def test_the_end_stays_in_sight_when_the_width_changes():
    async def scene(transcript, pilot):
        words = "word " * 40
        transcript.show([Entry(key, "assistant", f"reply {key}", words) for key in range(1, 40)])
        await pilot.resize_terminal(40, 24)
        await pilot.pause()
        await pilot.pause()
        narrow = transcript.virtual_size.height
        assert transcript.scroll_y == transcript.max_scroll_y
        assert rows(transcript)[-2].endswith("word")
        await pilot.resize_terminal(120, 24)
        await pilot.pause()
        await pilot.pause()
        assert transcript.virtual_size.height < narrow
        assert rows(transcript)[-2].endswith("word")

    on_screen(scene)


def test_selected_text_is_what_was_read():
    async def scene(transcript, pilot):
        transcript.show([Entry(1, "assistant", "model", "some words here")])
        await pilot.pause()
        await pilot.mouse_down(transcript, offset=(2, 1))
        await pilot.hover(transcript, offset=(11, 1))
        await pilot.mouse_up(transcript, offset=(11, 1))
        assert transcript.screen.get_selected_text() == "some words"

    on_screen(scene)
