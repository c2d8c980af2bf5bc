"""The monitor and the conversations, reached from the chat."""

from __future__ import annotations

from functools import partial

import pytest

from forge_tui.engine_thread import Choices
from forge_tui.monitor import MonitorPanel, MonitorScreen
from forge_tui.sessions import SessionsScreen

from .stage import CPU, HANGS, NOWHERE, engine_of, idle, lines, play, say, type_in, until


def shows(app, *words: str) -> bool:
    return all(word in "\n".join(lines(app)) for word in words)


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_the_monitor_comes_beside_the_chat_where_there_is_room_then_in_full(tiny_chat, size):
    async def scene(app, pilot):
        await until(lambda: app.loaded)
        await pilot.press("f6")
        if size[0] > 100:
            await until(lambda: shows(app, "Engine", "tiny", "CPU", "RAM"))
            assert app.screen is app.screen_stack[0]
            assert app.focused is app.composer
            await say(app, pilot, "hello")
            await until(lambda: shows(app, "to first token", "24 tokens"))
            await pilot.press("f6")
        await until(lambda: isinstance(app.screen, MonitorScreen))
        await until(lambda: shows(app, "Engine", "Back"))
        await pilot.press("f6")
        await until(lambda: not isinstance(app.screen, MonitorScreen))
        assert not app.query(MonitorPanel)
        await type_in(pilot, "on")
        assert app.composer.text.endswith("on")

    play(scene, Choices(str(tiny_chat)), size)


def test_the_monitor_says_why_a_reply_moved(tiny_chat):
    choices = Choices(
        str(tiny_chat),
        HANGS.name,
        {"patience": 0.2},
        partial(engine_of, among=(HANGS, CPU)),
    )

    async def scene(app, pilot):
        await pilot.press("f6")
        await say(app, pilot, "hello")
        await until(lambda: shows(app, "Moved", "hangs → cpu at token 8"))
        assert app.feed.state.reply_tokens == 24

    play(scene, choices, (140, 40))


def test_the_monitor_opens_without_an_engine():
    async def scene(app, pilot):
        await pilot.press("f6")
        await until(lambda: shows(app, "Machine", "RAM"))
        await pilot.press("f6", "escape")
        await until(lambda: not isinstance(app.screen, MonitorScreen))

    play(scene, NOWHERE, (140, 40))


def test_another_conversation_is_found_and_gone_on_with(tiny_chat, tmp_path):
    async def scene(app, pilot):
        await say(app, pilot, "first words")
        await pilot.press("ctrl+n")
        await say(app, pilot, "second thing")
        await pilot.press("ctrl+o")
        await until(lambda: shows(app, "● second thing", "first words"))
        await type_in(pilot, "words")
        await until(lambda: not shows(app, "second thing"))
        await pilot.press("enter")
        await until(
            lambda: not isinstance(app.screen, SessionsScreen) and shows(app, "first words")
        )
        await until(lambda: idle(app) and app.archive.conversation == 1)
        await say(app, pilot, "and more")
        await until(lambda: shows(app, "first words", "and more"))

    play(scene, Choices(str(tiny_chat)), (100, 40), store=tmp_path / "conversations.db")


def test_deleting_the_conversation_on_the_screen_begins_another(tiny_chat, tmp_path):
    async def scene(app, pilot):
        await say(app, pilot, "first words")
        await pilot.press("ctrl+o")
        await until(lambda: shows(app, "● first words"))
        await pilot.press("f8")
        await until(lambda: shows(app, "deleted: first words"))
        await pilot.press("escape")
        await until(lambda: not isinstance(app.screen, SessionsScreen))
        await until(lambda: not shows(app, "first words"))
        await say(app, pilot, "second thing")
        await pilot.press("ctrl+o")
        await until(lambda: shows(app, "● second thing"))
        assert not shows(app, "first words")
        await pilot.press("escape")

    play(scene, Choices(str(tiny_chat)), (100, 40), store=tmp_path / "conversations.db")


def test_without_an_archive_there_are_no_conversations_to_choose():
    async def scene(app, pilot):
        await until(lambda: shows(app, "no engine in this test"))
        await pilot.press("ctrl+o")
        await until(lambda: shows(app, "conversations are not kept here"))

    play(scene, NOWHERE)
