"""The chat with the real engine, driven by keys as a person presses them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from forge import BackendSpec, Engine, StoreError
from forge.plugins import Plugins
from forge.testing import faulty
from forge_tui.app import ChatApp
from forge_tui.engine_thread import Choices
from forge_tui.store import Store
from forge_tui.talk import Talk

CPU = Plugins().backend("cpu")
SLOW_START = faulty("slow", of=CPU, fault="slow", phase="open", seconds=1.5)
SLOW_WORDS = faulty("slow", of=CPU, fault="slow", phase="decode", seconds=0.05)
HANGS = faulty("hangs", of=CPU, fault="hang", phase="decode", step=8)
OTHER = replace(CPU, name="other")
Scene = Callable[[ChatApp, Pilot[int]], Awaitable[None]]
PATIENCE = 40.0


def play(
    scene: Scene,
    choices: Choices,
    size: tuple[int, int] = (80, 24),
    store: Path | None = None,
    resume: bool = False,
    **talk: Any,
) -> None:
    """Run the app on a screen of that size until the scene is over."""
    opened = partial(Store, store) if store else None

    async def main() -> None:
        choice = Talk(**{"sampling": {"temperature": 0}, "max_tokens": 24, **talk})
        app = ChatApp(choice, choices, opened)
        app.resuming = resume
        async with app.run_test(size=size) as pilot:
            await scene(app, pilot)

    asyncio.run(main())


async def until(condition: Callable[[], object], why: Callable[[], object] = str) -> None:
    """Wait for what has to happen in the end."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, why()
        await asyncio.sleep(0.02)


async def type_in(pilot: Pilot[int], text: str) -> None:
    """Press a key for each character."""
    names = {" ": "space", ".": "full_stop", "/": "slash", ",": "comma", "?": "question_mark"}
    await pilot.press(*(names.get(character, character) for character in text))


async def say(app: ChatApp, pilot: Pilot[int], text: str) -> None:
    """Send it, and wait for the end of the reply."""
    await until(lambda: app.loaded)
    await type_in(pilot, text)
    await pilot.press("enter")
    await until(lambda: app.talk.tree.leaf and idle(app))


def never(*_: Any, **__: Any) -> Any:
    """An engine that does not come: the screen has to work without."""
    raise StoreError("no engine in this test")


NOWHERE = Choices(__file__, opened=never)


def engine_of(
    path: Path, backend: str, *, among: tuple[BackendSpec, ...], **options: Any
) -> Engine:
    """An engine whose backends are these alone, chosen by name."""
    named = {spec.name: spec for spec in among}
    return Engine(path, backend=named[backend], fallback_to=list(among), **options)


def lines(app: ChatApp) -> list[str]:
    """What is on the screen."""
    return [strip.text.rstrip() for strip in app.screen._compositor.render_strips()]


def idle(app: ChatApp) -> bool:
    """The model is there, and nothing is being answered."""
    return app.loaded is not None and not app.talk.request and not app.talk.waiting


async def shows(app: ChatApp, text: str) -> None:
    """Wait until it is on the screen, on one line."""
    await until(lambda: any(text in line for line in lines(app)), lambda: "\n".join(lines(app)))
