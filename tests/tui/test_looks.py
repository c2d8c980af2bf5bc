"""The monitor and the conversations look as they did: two sizes, two themes."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.widgets import Static

from forge import Diagnosis, Fallback, Prefill, Ready, Token, Watch
from forge.state import Key, Quarantine, Standing
from forge_tui.monitor import (
    Asked,
    Chosen,
    Feed,
    GpuReading,
    MonitorPanel,
    MonitorScreen,
    Polled,
    Reading,
)
from forge_tui.sessions import SessionsScreen
from forge_tui.store import Store

from .test_snapshots import FOLDER, SIZES, THEMES, cells, faint, picture

NOW = 1_700_000_000.0
GIB = float(1 << 30)
GPU = GpuReading(
    *("0000:03:00.0", "AMD", 0.87, 0.4, 4 * GIB, 16 * GIB, GIB, 32 * GIB),
    *(2.41e9, 1.25e9, 61.0, 97.0, 212.0, 300.0, 1450.0),
)
HELD = Quarantine(3, Key("vulkan", "0000:03:00.0"), "it hung in decode", boot="this one", when=NOW)


class Still:
    """Gauges that show what they are told."""

    def readings(self, pid: object) -> Iterator[Reading]:
        return iter(())

    def close(self) -> None:
        pass


def feed() -> Feed:
    """A reply that moved, on a machine with a hot GPU."""
    now = [0.0]
    watch = Watch("cpu", "decode", 1.2, 2.0)
    found = Diagnosis((), (Standing(HELD, True, ()),), ("a note",))
    feed = Feed(
        lambda: Polled(watch, "radv: ring gfx_0.0.0 timeout\nradv: device lost\n"),
        lambda: None,
        reader=Still(),  # type: ignore[arg-type]  # all that a feed asks of one
        diagnosis=lambda: found,
        clock=lambda: now[0],
    )
    feed.observe(Chosen("qwen2.5-7b-instruct"))
    feed.observe(Ready("vulkan", "Radeon RX 7900 XTX", 8192, 2.0))
    feed.observe(Asked())
    for at, news in [
        (0.5, Prefill(512, 512)),
        *((0.6 + n / 50, Token(n)) for n in range(41)),
        (4.0, Fallback("vulkan", "cpu", "no progress for 2 s in decode", 41)),
        (5.0, Ready("cpu", "Ryzen 9", 8192, 1.0, (), 1 << 28, 32 << 30, 20 << 30)),
        *((6.0 + n / 10, Token(n)) for n in range(20)),
    ]:
        now[0] = at
        feed.observe(news)
    for second in range(60):
        load, gpus = 0.2 + second / 100, (GPU,)
        feed.observe(Reading(float(second), 12 * GIB, 32 * GIB, load, GIB, 1.9, gpus=gpus))
    feed.observe(found)
    return feed


class Shell(App[None]):
    """A text, and what is looked at beside it."""

    CSS = "#beside { width: 1fr; }"

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static("the chat", id="beside")
            yield MonitorPanel(self.feed)


def look(screen: Any, theme: str, size: tuple[int, int], name: str) -> None:
    async def main() -> None:
        app = Shell(feed())
        app.theme = theme
        app.animation_level = "none"
        async with app.run_test(size=size) as pilot:
            if screen is not None:
                await app.push_screen(screen)
                for each in screen.query("Input"):
                    each.cursor_blink = False
            end, before = time.monotonic() + 20, ""
            while (now := picture(cells(app))) != before and time.monotonic() < end:
                before = now
                await pilot.pause(0.4)
            path = FOLDER / f"{name}-{size[0]}x{size[1]}-{theme.removeprefix('textual-')}.txt"
            if os.environ.get("FORGE_SNAPSHOTS") == "write":
                path.write_text(now, encoding="utf-8")
            assert now == path.read_text(encoding="utf-8")
            assert faint(cells(app)) == []

    asyncio.run(main())


@pytest.fixture(autouse=True)
def one_time_zone() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize("theme", THEMES)
def test_the_panel_looks_as_it_did(theme):
    look(None, theme, SIZES[1], "panel")


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("theme", THEMES)
def test_the_monitor_looks_as_it_did(theme, size):
    look(MonitorScreen(feed()), theme, size, "monitor")


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("theme", THEMES)
def test_the_conversations_look_as_they_did(theme, size, tmp_path):
    now = [NOW - 3 * 86400]
    with Store(tmp_path / "conversations.db", clock=lambda: now[0]) as store:
        for question in ("Why is the sky blue?", "Write a poem about rivers and the sea"):
            talk = store.create("smollm2", "Be brief.")
            asked = store.add(talk.id, None, "user", question)
            store.add(talk.id, asked.id, "assistant", "Because **light** scatters.")
            now[0] += 3 * 86400 - 7200

        def ask(question: Any) -> Future[Any]:
            answer: Future[Any] = Future()
            answer.set_result(question(store))
            return answer

        look(SessionsScreen(ask, now=2, clock=lambda: NOW), theme, size, "conversations")
