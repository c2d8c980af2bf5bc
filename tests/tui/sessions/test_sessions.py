"""The screen of conversations, driven by keys over a real store."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from textual.app import App
from textual.pilot import Pilot
from textual.widgets import OptionList

from forge_tui.sessions import SessionsScreen
from forge_tui.sessions.words import ago, file_name
from forge_tui.store import Conversation, HistoryError, Store

NOW = 1_700_000_000.0


class Shell(App[None]):
    """Shows the screen, and keeps what it gives and tells."""

    def __init__(self, screen: SessionsScreen) -> None:
        super().__init__()
        self.first = screen
        self.results: list[int | None] = []

    def on_mount(self) -> None:
        self.push_screen(self.first, self.results.append)


Scene = Callable[[Shell, Pilot[None]], Awaitable[None]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Three conversations, an hour apart, the latest about rivers."""
    now = [NOW - 3 * 3600]
    with Store(tmp_path / "conversations.db", clock=lambda: now[0]) as store:
        for question, answer in [
            ("Why is the sky blue?", "Because of the air."),
            ("Write a poem", "Roses are red."),
            ("Name a river", "The Danube \x1b[31m flows."),
        ]:
            talk = store.create("smollm2")
            asked = store.add(talk.id, None, "user", question)
            writer = store.start_reply(talk.id, asked.id, "cpu")
            writer.append(answer, 4)
            writer.finish()
            now[0] += 3600
        yield store


def play(store: Store, scene: Scene, size: tuple[int, int] = (120, 30), now: int = 3) -> Shell:
    async def main() -> Shell:
        with ThreadPoolExecutor(1) as pool:
            screen = SessionsScreen(
                lambda question: pool.submit(question, store), now, clock=lambda: NOW
            )
            app = Shell(screen)
            async with app.run_test(size=size) as pilot:
                await until(app, lambda: screen.query_one(OptionList).option_count)
                await scene(app, pilot)
            return app

    return asyncio.run(main())


def lines(app: App[None]) -> str:
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


async def until(app: App[None], true: Callable[[], object]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end, lines(app)
        await asyncio.sleep(0.02)


async def until_shown(app: App[None], *words: str, gone: str = "\0") -> None:
    await until(app, lambda: all(w in lines(app) for w in words) and gone not in lines(app))


def titles(store: Store) -> list[str]:
    return [talk.title for talk in store.conversations()]


def test_the_latest_conversation_comes_first_and_enter_opens_the_chosen_one(store):
    async def scene(app, pilot):
        await until_shown(app, "● Name a river", "1 hour ago · 2 messages · smollm2")
        text = lines(app)
        assert text.index("Name a river") < text.index("Write a poem") < text.index("Why is the")
        await until_shown(app, "The Danube")
        await pilot.press("down")
        await until_shown(app, "Roses are red.")
        await pilot.press("enter")

    assert play(store, scene).results == [2]


def test_what_a_model_wrote_does_not_reach_the_terminal(store):
    async def scene(app, pilot):
        await until_shown(app, "flows")
        assert "\x1b" not in lines(app)

    play(store, scene)


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_typing_narrows_the_list_down(store, size):
    async def scene(app, pilot):
        await pilot.press(*"roses")
        await until_shown(app, "Write a poem", gone="Name a river")
        await pilot.press("x")
        await until_shown(app, "nothing was found", gone="Write a poem")
        await pilot.press("enter")
        assert app.results == []
        await pilot.press("backspace")
        await until_shown(app, "Write a poem")
        await pilot.press("enter")

    assert play(store, scene, size).results == [2]


def test_escape_goes_back_with_nothing(store):
    async def scene(app, pilot):
        await pilot.press("escape")

    assert play(store, scene).results == [None]


def test_a_click_opens_a_conversation(store):
    async def scene(app, pilot):
        await until_shown(app, "Why is the sky")
        rows = lines(app).split("\n")
        await pilot.click(offset=(6, next(y for y, row in enumerate(rows) if "Why is" in row)))
        await until(app, lambda: app.results)

    assert play(store, scene).results == [1]


def test_renaming_takes_a_new_title_and_escape_leaves_the_old_one(store):
    async def scene(app, pilot):
        await pilot.press("f2", *"Rivers", "enter")
        await until_shown(app, "renamed: Rivers")
        assert titles(store)[0] == "Rivers"
        await pilot.press("f2", *"Lakes", "escape")
        await until_shown(app, "type to find")
        assert titles(store)[0] == "Rivers"
        assert app.results == []

    play(store, scene)


def test_a_fork_is_listed_and_chosen(store):
    async def scene(app, pilot):
        await pilot.press("down", "down", "f4")
        await until_shown(app, "Why is the sky blue? (fork)", "copied as")
        await until(app, lambda: app.first.chosen and app.first.chosen.id == 4)
        await pilot.press("enter")

    assert play(store, scene).results == [4]
    assert [m.text for m in store.messages(4)] == ["Why is the sky blue?", "Because of the air."]


def test_deletions_are_taken_back_one_by_one(store):
    async def scene(app, pilot):
        await pilot.press("f8")
        await until_shown(app, "deleted: Name a river. Ctrl+Z", gone="● Name a river")
        await pilot.press("f8")
        await until_shown(app, "deleted: Write a poem")
        assert titles(store) == ["Why is the sky blue?"]
        assert app.first.deleted == {2, 3}
        await pilot.press("ctrl+z")
        await until_shown(app, "back again: Write a poem")
        await pilot.press("ctrl+z")
        await until_shown(app, "back again: Name a river", "● Name a river")
        await pilot.press("ctrl+z")
        await until_shown(app, "nothing was deleted here")
        await until(app, lambda: app.first.chosen.id == 3)

    assert play(store, scene).first.deleted == set()
    assert len(titles(store)) == 3


def test_deleting_everything_leaves_an_empty_list_that_says_so(store):
    async def scene(app, pilot):
        for left in (2, 1, 0):
            await pilot.press("f8")
            await until(app, lambda left=left: len(app.first._found) == left)
        await until_shown(app, "no conversation is kept", "deleted: Why is the sky blue?")
        await pilot.press("enter", "f2", "f4", "f6", "f8", "down")
        assert app.results == []

    play(store, scene)


@pytest.mark.parametrize("ending", ["md", "json"])
def test_an_export_is_a_new_file(store, tmp_path, monkeypatch, ending):
    monkeypatch.chdir(tmp_path)
    (tmp_path / f"taken.{ending}").write_text("precious")

    async def scene(app, pilot):
        await pilot.press("f6")
        await until_shown(app, "name-a-river.md")
        await pilot.press(*"taken", "full_stop", *ending, "enter")
        await until_shown(app, "exists already")
        app.first.line.value = f"new.{ending}"
        await pilot.press("enter")
        await until_shown(app, "written: ")

    play(store, scene)
    assert (tmp_path / f"taken.{ending}").read_text() == "precious"
    text = (tmp_path / f"new.{ending}").read_text()
    if ending == "json":
        assert len(json.loads(text)["messages"]) == 2
    else:
        assert "## Assistant (cpu)" in text


def test_a_file_that_cannot_be_is_said_and_nothing_is_written(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def scene(app, pilot):
        await pilot.press("f6")
        for name, why in [("x.docx", ".json for all"), ("no/where.md", "No such file")]:
            app.first.line.value = name
            await pilot.press("enter")
            await until_shown(app, why)

    before = set(tmp_path.iterdir())
    play(store, scene)
    assert not [path for path in set(tmp_path.iterdir()) - before if path.suffix != ".db-wal"]


def test_a_store_that_cannot_be_read_is_said(store):
    async def scene(app, pilot):
        def broken(_: object) -> None:
            raise HistoryError("the disk is gone")

        app.first._ask = lambda _, ask=app.first._ask: ask(broken)
        await pilot.press("x")
        await until_shown(app, "the disk is gone")
        await pilot.press("f8", "f4")
        await pilot.press("escape")
        assert app.results == [None]

    play(store, scene)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "just now"),
        (59, "just now"),
        (60, "1 minute ago"),
        (3599, "59 minutes ago"),
        (7200, "2 hours ago"),
        (90_000, "1 day ago"),
        (6 * 86400, "6 days ago"),
        (8 * 86400, "2023-11-06"),
    ],
)
def test_an_age_is_told_in_words(seconds, words):
    assert ago(NOW - seconds, NOW) == words


def test_a_file_s_name_is_one_that_every_file_system_takes():
    def name(title: str) -> str:
        return file_name(Conversation(7, title, 0, 0))

    assert name("Why is the sky blue?") == "why-is-the-sky-blue.md"
    assert name("../../etc/passwd\0") == "etc-passwd.md"
    assert name("Что? " * 50).startswith("что-что")
    assert len(name("x" * 500)) < 70
    assert name("???") == "conversation-7.md"
