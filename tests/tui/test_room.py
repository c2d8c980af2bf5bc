"""A context that fills up: the meter says so, and the person chooses what is left out."""

from textual.widgets import OptionList

from forge.testing import write_tiny
from forge_tui.engine_thread import Choices
from forge_tui.screens.picker import Picker

from .stage import idle, play, say, shows, type_in, until

LONG = "word " * 12


def small(tmp_path):
    return Choices(
        str(write_tiny(tmp_path / "t.gguf", tokenizer="bytes")), "auto", {"context": 256}
    )


async def fill(app, pilot):
    """Talk until a message does not fit any more."""
    while not isinstance(app.screen, Picker):
        await until(lambda: app.loaded)
        app.send(LONG)
        await until(lambda: idle(app))
        await pilot.pause(0.1)
    await shows(app, "of the context's 256 tokens")


def test_the_meter_warns_before_the_context_is_full(tmp_path):
    async def scene(app, pilot):
        await say(app, pilot, "hello")
        assert "filling" not in app.status.meter().plain
        await fill(app, pilot)
        await pilot.press("escape")
        await shows(app, "tokens nearly full")

    play(scene, small(tmp_path))


def test_the_oldest_turns_are_dropped_only_when_the_person_says_so(tmp_path):
    async def scene(app, pilot):
        await fill(app, pilot)
        path = len(app.talk.tree.path())
        assert app.talk.unseen == 0
        await pilot.press("enter")
        await until(lambda: app.talk.unseen and idle(app))
        assert len(app.talk.tree.path()) >= path
        assert len(app.talk.messages) == len(app.talk.tree.path()) - app.talk.unseen
        assert app.talk.messages[0]["role"] == "user"
        await pilot.press("shift+tab", "home")
        await shows(app, "word word")

    play(scene, small(tmp_path))


def test_a_summary_stands_for_the_oldest_turns(tmp_path):
    async def scene(app, pilot):
        for _ in range(2):
            app.talk.tree.add("user", "hello", app.talk.tree.leaf)
            app.talk.tree.add("assistant", "yes", app.talk.tree.leaf)
        await until(lambda: app.loaded)
        await type_in(pilot, "/room")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, Picker))
        await pilot.press("down", "enter")
        await until(lambda: app.talk.summary)
        assert app.talk.unseen == 2
        first, *rest = app.talk.messages
        assert app.talk.summary in first["content"]
        assert [message["content"] for message in rest] == ["hello", "yes"]

    play(scene, small(tmp_path))


def test_a_new_chat_takes_along_the_message_that_did_not_fit(tmp_path):
    async def scene(app, pilot):
        await until(lambda: app.loaded)
        app.send("x" * 300)
        await until(lambda: isinstance(app.screen, Picker))
        await pilot.press("enter")
        await until(lambda: app.banner.display)
        assert "longer than the context" in str(app.banner.content)
        await pilot.press("escape")
        await type_in(pilot, "/room")
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, Picker))
        app.screen.query_one(OptionList).highlighted = 2
        await pilot.press("enter")
        await until(lambda: app.talk.tree.leaf is None)
        assert app.composer.text == "x" * 300

    play(scene, small(tmp_path))
