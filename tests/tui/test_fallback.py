"""A backend hangs in mid-reply: what was there stays, the rest comes, and it is said."""

from functools import partial

from forge_tui.engine_thread import Choices
from forge_tui.screens.reader import Reader

from .stage import CPU, HANGS, engine_of, idle, play, say, shows, until

QUICK = {"patience": 0.2, "remember": False}


def test_the_reply_goes_on_and_nothing_is_lost_or_said_twice(tiny_chat):
    told = {}

    async def undisturbed(app, pilot):
        await say(app, pilot, "hello")
        told["text"] = app.talk.tree.leaf.text

    async def scene(app, pilot):
        await until(lambda: app.loaded)
        assert app.loaded.backend == "hangs"
        await pilot.press(*"hello", "enter")
        await until(lambda: app.talk.reply and app.talk.reply.text)
        before = app.talk.reply.text
        await until(lambda: app.banner.display)
        assert app.talk.reply is None or app.talk.reply.text.startswith(before)
        await pilot.press(*"typed meanwhile")
        assert app.composer.text == "typed meanwhile"
        await until(lambda: idle(app))
        reply = app.talk.tree.leaf
        assert reply.text.startswith(before)
        assert reply.text == told["text"]
        assert reply.backend == "cpu"
        (moved,) = reply.meta["fallbacks"]
        assert (moved["from"], moved["to"], moved["at_token"]) == ("hangs", "cpu", 8)
        await shows(app, "hangs failed")
        await pilot.press("f7")
        assert isinstance(app.screen, Reader)
        await shows(app, "cpu after 8 tokens")
        await pilot.press("escape", "ctrl+u", "escape")
        assert not app.banner.display

    play(undisturbed, Choices(str(tiny_chat), CPU))
    opened = partial(engine_of, among=(HANGS, CPU))
    play(scene, Choices(str(tiny_chat), "hangs", QUICK, opened))
