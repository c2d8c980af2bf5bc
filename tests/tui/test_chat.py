"""Chatting: what is sent is answered, Esc stops, what was there stays."""

from textual.events import Paste

from forge_tui.engine_thread import Choices

from .stage import NOWHERE, SLOW_START, SLOW_WORDS, idle, lines, play, say, shows, type_in, until


def test_what_is_sent_before_the_model_is_ready_waits_and_is_answered(tiny_chat):
    async def scene(app, pilot):
        assert app.focused is app.composer
        await type_in(pilot, "hello")
        await pilot.press("enter")
        assert app.loaded is None
        assert app.talk.waiting == ["hello"]
        await shows(app, "waiting to be answered")
        await until(lambda: idle(app) and app.talk.tree.leaf)
        asked, reply = app.talk.tree.path()
        assert (asked.role, asked.text) == ("user", "hello")
        assert (reply.role, reply.state, reply.tokens) == ("assistant", "complete", 24)
        assert reply.text
        assert not any("waiting" in line for line in lines(app))

    play(scene, Choices(str(tiny_chat), SLOW_START))


def test_escape_stops_the_reply_and_keeps_what_is_there(tiny_chat):
    async def scene(app, pilot):
        await until(lambda: app.loaded)
        await type_in(pilot, "hello")
        await pilot.press("enter")
        await until(lambda: app.talk.reply and app.talk.reply.text)
        await pilot.press("escape")
        assert app.talk.request == 0
        reply = app.talk.tree.leaf
        assert reply.state == "stopped"
        kept = reply.text
        await shows(app, "stopped")
        await type_in(pilot, "more")
        await pilot.press("enter")
        await until(lambda: app.talk.reply and app.talk.reply.text)
        assert reply.text == kept
        assert app.talk.tree.path()[1] is reply

    play(scene, Choices(str(tiny_chat), SLOW_WORDS), max_tokens=400)


def test_escape_takes_back_what_waits(tiny_chat):
    async def scene(app, pilot):
        await type_in(pilot, "hello")
        await pilot.press("enter", "escape")
        assert app.talk.waiting == []
        assert app.composer.text == "hello"
        await until(lambda: app.loaded)
        assert app.talk.tree.leaf is None

    play(scene, Choices(str(tiny_chat), SLOW_START))


def test_a_new_line_is_no_sending_and_ctrl_q_quits(tiny_chat):
    async def scene(app, pilot):
        await type_in(pilot, "one")
        await pilot.press("ctrl+j")
        await type_in(pilot, "two")
        assert app.composer.text == "one\ntwo"
        await pilot.press("ctrl+q")
        await pilot.pause()
        assert app.return_value == 0

    play(scene, Choices(str(tiny_chat)))


def test_an_answer_again_and_an_edit_keep_what_was_there(tiny_chat):
    async def scene(app, pilot):
        await say(app, pilot, "hello")
        first = app.talk.tree.leaf
        await pilot.press("ctrl+r")
        await until(lambda: idle(app) and app.talk.tree.leaf is not first)
        second = app.talk.tree.leaf
        assert app.talk.tree.siblings(first) == [first, second]
        await shows(app, "‹2 of 2›")
        await pilot.press("f9")
        assert app.talk.tree.leaf is first
        await shows(app, "‹1 of 2›")
        await pilot.press("f8")
        assert app.composer.text == "hello"
        await type_in(pilot, "o")
        await pilot.press("enter")
        await until(lambda: idle(app) and app.talk.tree.leaf is not first)
        asked, _ = app.talk.tree.path()
        assert asked.text == "helloo"
        assert [node.text for node in app.talk.tree.roots] == ["hello", "helloo"]
        await pilot.press("shift+tab", "up", "up", "left_square_bracket")
        assert app.talk.tree.path() == [app.talk.tree.roots[0], second]

    play(scene, Choices(str(tiny_chat)))


def test_what_was_sent_comes_back_with_the_arrow_and_the_draft_after_it(tiny_chat):
    async def scene(app, pilot):
        await say(app, pilot, "hello")
        await type_in(pilot, "draft")
        await pilot.press("up")
        assert app.composer.text == "hello"
        await pilot.press("down")
        assert app.composer.text == "draft"

    play(scene, Choices(str(tiny_chat)))


def test_a_new_chat_begins_with_nothing(tiny_chat):
    async def scene(app, pilot):
        await say(app, pilot, "hello")
        assert app.status.used
        await pilot.press("ctrl+n")
        assert app.talk.messages == []
        assert app.status.used == 0
        assert not any("hello" in line for line in lines(app))

    play(scene, Choices(str(tiny_chat)))


def test_a_paste_of_100_kb_is_one_line_and_is_sent_whole():
    async def scene(app, pilot):
        text = "a line of a log\n" * 6400
        app.composer.post_message(Paste(text))
        await pilot.pause()
        assert app.composer.text == "[pasted text 1: 6401 lines, 102400 characters]"
        assert app.composer.whole == text
        await pilot.press("enter")
        assert app.talk.waiting == [text]

    play(scene, NOWHERE)
