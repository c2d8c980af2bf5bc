"""What was said is there again, with its branches and its settings."""

from forge_tui.engine_thread import Choices
from forge_tui.store import Store

from .stage import NOWHERE, SLOW_WORDS, idle, play, say, shows, type_in, until


def test_a_conversation_goes_on_where_it_was_left(tiny_chat, tmp_path):
    said = []

    async def first(app, pilot):
        await say(app, pilot, "hello")
        await pilot.press("ctrl+r")
        await until(lambda: idle(app) and len(app.talk.tree.roots[0].children) == 2)
        said.extend(node.text for node in app.talk.tree.path())
        app.set_system("Be brief")

    async def second(app, pilot):
        await until(lambda: app.talk.tree.leaf)
        assert [node.text for node in app.talk.tree.path()] == said
        assert app.talk.system == "Be brief"
        assert app.talk.sampling["temperature"] == 0
        await shows(app, "‹2 of 2›")
        await pilot.press("up")
        assert app.composer.text == "hello"
        app.composer.fill("")
        await say(app, pilot, "more")
        assert len(app.talk.tree.path()) == 4
        await pilot.press("shift+tab", "up", "up", "up", "left_square_bracket")
        await until(lambda: len(app.talk.tree.path()) == 2)

    async def third(app, pilot):
        await until(lambda: app.talk.tree.leaf)
        assert len(app.talk.tree.path()) == 2
        await pilot.press("f10")
        await until(lambda: len(app.talk.tree.path()) == 4)

    path = tmp_path / "conversations.db"
    play(first, Choices(str(tiny_chat)), store=path)
    play(second, Choices(str(tiny_chat)), store=path, resume=True)
    play(third, NOWHERE, store=path, resume=True)


def test_a_reply_that_was_stopped_is_saved_as_far_as_it_came(tiny_chat, tmp_path):
    kept = []

    async def scene(app, pilot):
        await until(lambda: app.loaded)
        await type_in(pilot, "hello")
        await pilot.press("enter")
        await until(lambda: app.talk.reply and len(app.talk.reply.text) > 5)
        await pilot.press("escape")
        kept.append(app.talk.tree.leaf.text)

    path = tmp_path / "conversations.db"
    play(scene, Choices(str(tiny_chat), SLOW_WORDS), store=path, max_tokens=400)
    with Store(path) as store:
        (talk,) = store.conversations()
        asked, reply = store.messages(talk.id)
    assert (asked.text, talk.title, talk.model) == ("hello", "hello", "tiny")
    assert (reply.text, reply.state) == (kept[0], "stopped")


def test_a_new_chat_is_another_conversation(tiny_chat, tmp_path):
    async def scene(app, pilot):
        await say(app, pilot, "one")
        await pilot.press("ctrl+n")
        await say(app, pilot, "two")

    path = tmp_path / "conversations.db"
    play(scene, Choices(str(tiny_chat)), store=path)
    with Store(path) as store:
        assert {talk.title for talk in store.conversations()} == {"one", "two"}


def test_a_chat_that_cannot_be_saved_says_so_and_goes_on(tiny_chat, tmp_path):
    path = tmp_path / "file" / "conversations.db"
    path.parent.write_text("in the way")

    async def scene(app, pilot):
        await until(lambda: app.banner.display)
        assert "not being saved" in app.banner.details
        await say(app, pilot, "hello")
        assert app.talk.tree.leaf.text

    play(scene, Choices(str(tiny_chat)), store=path)
