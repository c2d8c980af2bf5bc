"""The monitor in an app: beside a chat and on a screen of its own, wide and narrow."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.doctor.cases import STRIX_HALO
from tests.unit.doctor.trees import build
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Input

from forge import Diagnosis, Engine, Fallback, SamplingParams, Token, Watch, diagnose
from forge.plugins import Plugins
from forge.state import Key, Ledger
from forge.testing import faulty
from forge_tui.monitor import (
    Asked,
    Chosen,
    Feed,
    MonitorPanel,
    MonitorScreen,
    Polled,
    SystemReader,
)

from .machines import gpu, machine

QUIET = Polled(None)
MOVED = Fallback("vulkan", "cpu", "no work was finished within 2.0 s", 41)


class Chat(App[None]):
    """An input, and the monitor beside it."""

    CSS = "Screen { layout: horizontal; } Input { width: 1fr; }"

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed

    def compose(self) -> ComposeResult:
        yield Input()
        yield MonitorPanel(self.feed)

    def on_unmount(self) -> None:
        self.feed.close()


def play(
    scene: Callable[[Chat, Pilot[None]], Awaitable[None]], feed: Feed, size: tuple[int, int]
) -> None:
    async def main() -> None:
        app = Chat(feed)
        async with app.run_test(size=size) as pilot:
            await scene(app, pilot)

    asyncio.run(main())


def lines(app: App[None]) -> str:
    return "\n".join(strip.text.rstrip() for strip in app.screen._compositor.render_strips())


async def until_shown(app: App[None], *words: str) -> None:
    end = time.monotonic() + 30
    while missing := [word for word in words if word not in lines(app)]:
        assert time.monotonic() < end, f"{missing} not in\n{lines(app)}"
        await asyncio.sleep(0.02)


def feed_of(root: Path, polled: Polled = QUIET, diagnosis: Diagnosis | None = None) -> Feed:
    return Feed(
        lambda: polled,
        lambda: None,
        reader=SystemReader(root),
        diagnosis=lambda: diagnosis or Diagnosis(),
    )


def test_the_panel_shows_the_machine_and_what_the_engine_says(tmp_path):
    gpu(machine(tmp_path))
    polled = Polled(Watch("vulkan", "decode", 0.1, 2.0))
    feed = feed_of(tmp_path, polled)
    for news in (Chosen("qwen2.5"), Asked(), Token(1), MOVED):
        feed.observe(news)

    async def scene(app, pilot):
        await until_shown(app, "Moved", "vulkan → cpu at token", "qwen2.5")
        await until_shown(app, "vulkan is moving in decode", "4.0 of 16.0 GiB", "61 °C")
        await pilot.press("h", "i")
        assert app.query_one(Input).value == "hi"

    play(scene, feed, (110, 50))


def test_where_all_is_well_there_is_no_word_of_trouble(tmp_path):
    feed = feed_of(machine(tmp_path))

    async def scene(app, pilot):
        await until_shown(app, "Engine", "RAM")
        assert "Trouble" not in lines(app)
        feed.observe(MOVED)
        await until_shown(app, "Trouble", "Moved")

    play(scene, feed, (110, 50))


@pytest.mark.parametrize("size", [(80, 24), (140, 40)])
def test_the_screen_has_reasons_remedies_and_the_log(tmp_path, size):
    gpu(machine(tmp_path))
    with Ledger.open() as ledger:
        ledger.quarantine(Key("vulkan"), "it hung in decode")
    sick = build(tmp_path / "sick", STRIX_HALO)
    polled = Polled(None, "radv: ring gfx_0.0.0 timeout\n\x1b[2Jtwo\n")
    feed = Feed(
        *(lambda: polled, lambda: None),
        reader=SystemReader(tmp_path),
        diagnosis=lambda: diagnose(sick),
    )
    feed.observe(MOVED)

    async def scene(app, pilot):
        app.push_screen(MonitorScreen(feed))
        await until_shown(app, "Engine", "Back")
        if size[0] == 80:
            await until_everything_was_seen(app, pilot)
        else:
            await until_shown(app, "no work was finished within", "it hung in decode")
            await until_shown(app, "forge quarantine clear 1", "Doctor", "Do ")
            await until_shown(app, "ring gfx_0.0.0 timeout", "[2Jtwo", "61 °C")
        await pilot.press("escape")
        await until_shown(app, "Moved")
        assert not isinstance(app.screen, MonitorScreen)

    play(scene, feed, size)


async def until_everything_was_seen(app, pilot) -> None:
    """On a small screen: by scrolling with the keys."""
    wanted = {"Heat", "it hung in decode", "Doctor", "Do ", "ring gfx_0.0.0 timeout"}
    end = time.monotonic() + 30
    while wanted and time.monotonic() < end:
        await pilot.press("pagedown")
        await pilot.pause(0.3)
        wanted -= {words for words in wanted if words in lines(app)}
        if app.screen.query_one("#monitor-columns").is_vertical_scroll_end:
            await pilot.press("home")
    assert not wanted, lines(app)


def test_asking_the_doctor_again_shows_what_it_says_now(tmp_path):
    answers = iter([Diagnosis(notes=("the first look",)), Diagnosis(notes=("the second look",))])
    feed = Feed(
        *(lambda: QUIET, lambda: None),
        reader=SystemReader(machine(tmp_path)),
        diagnosis=lambda: next(answers),
    )

    async def scene(app, pilot):
        app.push_screen(MonitorScreen(feed))
        await until_shown(app, "the first look")
        await pilot.press("r")
        await until_shown(app, "the second look")

    play(scene, feed, (140, 40))


def test_a_slow_doctor_and_a_hung_driver_leave_the_keys_alone(tmp_path):
    folder = gpu(machine(tmp_path))
    (folder / "gpu_busy_percent").unlink()
    os.mkfifo(folder / "gpu_busy_percent")
    done = threading.Event()
    feed = Feed(
        *(lambda: QUIET, lambda: None),
        reader=SystemReader(tmp_path, step_seconds=0.5),
        diagnosis=lambda: (done.wait(30), Diagnosis(notes=("at last",)))[1],
    )

    async def scene(app, pilot):
        app.push_screen(MonitorScreen(feed))
        await until_shown(app, "looking at this machine")
        await pilot.press("escape")
        await pilot.press("h", "i")
        assert app.query_one(Input).value == "hi"
        await until_shown(app, "its driver's files do not", "RAM")
        done.set()
        app.push_screen(MonitorScreen(feed))
        await until_shown(app, "at last")

    play(scene, feed, (140, 40))


def test_a_hang_is_watched_from_the_first_silence_to_the_fallback(tmp_path, tiny_chat):
    cpu = Plugins().backend("cpu")
    bad = faulty("bad", of=cpu, fault="hang", phase="decode", step=4)
    with Engine.open(tiny_chat, backend=bad, fallback_to=[cpu], patience=0.5) as engine:
        feed = Feed(
            lambda: Polled(engine.watch(), engine.log_tail()),
            lambda: engine.worker_pid,
            reader=SystemReader(),
        )
        feed.observe(engine.ready)
        silences: list[Watch] = []

        def answer() -> None:
            feed.observe(Asked())
            params = SamplingParams(temperature=0)
            with closing(engine.chat().send("Hello", params, max_tokens=12)) as events:
                for event in events:
                    feed.observe(event)

        async def scene(app, pilot):
            thread = threading.Thread(target=answer)
            thread.start()
            while thread.is_alive():
                if (watch := feed.state.watch) and watch.phase == "decode":
                    silences.append(watch)
                await asyncio.sleep(0.02)
            thread.join()
            await until_shown(app, "bad → cpu at token 4", "cores", "Phase     idle")

        play(scene, feed, (120, 50))
    assert max(watch.age_s for watch in silences if watch.backend == "bad") > 0.3
    [fallback] = feed.state.fallbacks
    assert (fallback.source, fallback.target, fallback.at_token) == ("bad", "cpu", 4)
    assert feed.state.reply_tokens == 12
    assert feed.state.answering.backend == "cpu"
