"""Takes the pictures of docs/tui.md: the real chat, the real model, and a worker that really hangs.

    python scripts/screenshots.py [--model MODEL] [--out docs/screenshots] [--only chat ...]

Keys are pressed as a person would press them, and the screen is saved as SVG. For the fallback the
first backend that is not the floor is told to stop for ever in the middle of the reply; where there
is none, a second CPU backend. What the gauges show is what this machine has.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from textual.pilot import Pilot

from forge import BackendSpec, Engine, list_backends
from forge.plugins import Plugins
from forge.testing import faulty
from forge_tui.app import ChatApp
from forge_tui.engine_thread import Choices
from forge_tui.monitor import MonitorScreen
from forge_tui.sessions import SessionsScreen
from forge_tui.store import Store
from forge_tui.talk import Talk

ROOT = Path(__file__).parents[1]
SIZE = (120, 36)
LONGEST_SECONDS = 300.0
FIRST = "Write a Python function that says whether a number is prime."
SECOND = "Why is the sky blue?"
HANG_AT = 60
Scene = Callable[[ChatApp, Pilot[int]], Awaitable[None]]


async def until(condition: Callable[[], object]) -> None:
    """Wait for what has to happen in the end. TimeoutError where it does not."""
    end = time.monotonic() + LONGEST_SECONDS
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("the scene did not come about: is the machine busy?")
        await asyncio.sleep(0.05)


async def say(app: ChatApp, pilot: Pilot[int], text: str) -> None:
    """Send a message and wait until the reply is whole."""
    await begin(app, text)
    await until(lambda: app.talk.reply is None and not app.talk.request)
    await pilot.pause(0.6)


async def begin(app: ChatApp, text: str) -> None:
    """Send a message and wait until the reply has begun."""
    await until(lambda: app.loaded and not app.talk.request)
    before = app.talk.tree.leaf
    app.composer.fill(text)
    app.composer.action_submit()

    def begun() -> bool:
        leaf = app.talk.tree.leaf
        return (
            leaf is not None and leaf is not before and leaf.role == "assistant" and bool(leaf.text)
        )

    await until(begun)


async def chat(app: ChatApp, pilot: Pilot[int]) -> None:
    """Two turns, the second under way."""
    await say(app, pilot, FIRST)
    await begin(app, SECOND)


async def monitor(app: ChatApp, pilot: Pilot[int]) -> None:
    """The monitor beside a reply that is being written."""
    await pilot.press("f6")
    await say(app, pilot, SECOND)
    await pilot.pause(2.5)
    await begin(app, FIRST)
    await pilot.pause(1.0)


async def machine(app: ChatApp, pilot: Pilot[int]) -> None:
    """All of the monitor, with what the doctor says."""
    await say(app, pilot, SECOND)
    await pilot.press("f6", "f6")
    await until(lambda: isinstance(app.screen, MonitorScreen))
    await until(lambda: app.feed.state.diagnosis is not None)
    await pilot.pause(3.0)


async def fallback(app: ChatApp, pilot: Pilot[int]) -> None:
    """A worker hangs in the middle of the reply, which goes on elsewhere."""
    await pilot.press("f6")
    await begin(app, FIRST)
    await until(lambda: app.feed.state.fallbacks)
    before = app.feed.state.reply_tokens
    await until(lambda: app.feed.state.reply_tokens > before + 10 or not app.talk.request)
    await pilot.pause(0.6)


async def conversations(app: ChatApp, pilot: Pilot[int]) -> None:
    """What was kept, with how the chosen one ended."""
    for text in (FIRST, SECOND):
        await say(app, pilot, text)
        await pilot.press("ctrl+n")
    await pilot.press("ctrl+o")
    await until(lambda: isinstance(app.screen, SessionsScreen))
    await pilot.pause(1.0)


SCENES: dict[str, Scene] = {
    each.__name__: each for each in (chat, monitor, machine, fallback, conversations)
}


def hanging() -> tuple[BackendSpec, list[BackendSpec]]:
    """A backend that stops for ever in mid-reply, and what is left to go on with."""
    plugins = Plugins()
    floor = next(spec for spec in plugins.backends() if spec.floor)
    ready = [health.backend for health in list_backends(remember=False) if health.status == "ready"]
    first = plugins.backend(ready[0])
    if first.floor:
        first = replace(floor, name="second-cpu", floor=False)
    stopping = faulty(first.name, of=first, fault="hang", phase="decode", step=HANG_AT)
    return stopping, [floor]


async def take(name: str, model: str | None, folder: Path) -> str:
    """The screen at the end of a scene, as SVG."""
    backend: str | BackendSpec = "auto"
    opened: Callable[..., Engine] = Engine
    if name == "fallback":
        backend, rest = hanging()
        opened = partial(Engine, fallback_to=rest)
    talk = Talk("You are a helpful, brief assistant.", {"temperature": 0.0}, 160)
    choices = Choices(model, backend, {"remember": False}, opened)
    app = ChatApp(talk, choices, partial(Store, folder / f"{name}.db"))
    async with app.run_test(size=SIZE) as pilot:
        await SCENES[name](app, pilot)
        svg = app.export_screenshot(title="forge chat", simplify=True)
        if len(app.screen_stack) > 1:
            await pilot.press("escape")
        app.stop()
    return bare(svg)


def bare(svg: str) -> str:
    """Without the fonts that Textual names by their addresses: a document fetches nothing."""
    return re.sub(r"@font-face \{[^}]*\}\s*", "", svg).replace("Fira Code", "monospace")


def main() -> int:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description="take the pictures of docs/tui.md")
    parser.add_argument("--model", help="a GGUF file; the default model otherwise")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/screenshots")
    parser.add_argument("--only", nargs="+", choices=SCENES, default=list(SCENES))
    args: Any = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in args.only:
            svg = asyncio.run(take(name, args.model, Path(folder)))
            (args.out / f"{name}.svg").write_text(svg, encoding="utf-8")
            print(args.out / f"{name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
