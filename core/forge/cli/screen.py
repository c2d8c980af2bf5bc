"""What a person sees of an engine at work: text on stdout, everything else on stderr."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from forge.engine import Engine
from forge.errors import BackendLost
from forge.events import Done, Event, Fallback, Loading, Prefill, Ready, Text, Token

_CONTROLS: dict[int, int | str] = {
    c: 0xFFFD for c in (*range(32), *range(127, 160)) if chr(c) not in "\n\t"
}
_CONTROLS |= {ord("\r"): ""}
"""Characters that move the cursor or begin a command to the terminal."""


class Screen:
    """Prints events; progress only where stderr is a terminal, a fallback always."""

    def __init__(self, *, json: bool = False) -> None:
        self._json = json
        self._terminal = sys.stderr.isatty()
        self._status = ""
        self._column = 0

    def show(self, events: Iterable[Event]) -> Done:
        """Print a reply as it comes; its Done."""
        for event in events:
            match event:
                case Text() if not self._json:
                    self.status("")
                    print(self._shown(event.text), end="", flush=True)
                    self._column = 0 if event.text.endswith("\n") else 1
                case Fallback():
                    self.fallback(event)
                case Loading() | Ready() | Prefill():
                    self.progress(event)
                case Token():
                    self.status("")
                case Done():
                    self.finish(event)
                    return event
        raise BackendLost("the reply ended without a word")

    def _shown(self, text: str) -> str:
        """A terminal must not obey what a model writes; a file gets it as it is."""
        return text.translate(_CONTROLS) if sys.stdout.isatty() else text

    def progress(self, event: Loading | Ready | Prefill) -> None:
        """One line that is overwritten by the next."""
        match event:
            case Prefill() if event.done < event.total:
                self.status(f"reading the prompt: {event.done} of {event.total} tokens")
            case Prefill():
                self.status("")
            case Ready():
                self.status("")
                for note in event.notes:
                    self.note(note)
            case Loading(phase="compile") if event.total:
                self.status(f"{event.backend}: compiling kernels, {event.done} of {event.total}")
            case Loading():
                part = f" {event.done} of {event.total}" if event.total else ""
                self.status(f"{event.backend}: {event.phase}{part}")

    def finish(self, done: Done) -> None:
        """End the line, and say why the reply ended if the model did not end it."""
        self.status("")
        if not self._json and self._column:
            print(flush=True)
        self._column = 0
        if done.finish_reason == "context":
            self.say(
                f"the context is full ({done.prompt_tokens + len(done.tokens)} tokens), "
                f"so the reply stops here; -c asks for a larger one"
            )
        elif done.finish_reason == "cancelled":
            self.note("stopped")

    def fallback(self, event: Fallback) -> None:
        """Never silent: what happened, and where the reply goes on."""
        self.status("")
        if self._column and not self._json and sys.stdout.isatty():
            print(flush=True)
            self._column = 0
        if not event.tried:
            self.say(f"{event.source} is not used ({event.reason}); {event.target} answers")
            return
        where = "a fresh worker" if event.source == event.target else event.target
        tokens = f"after {event.at_token} token{'s' * (event.at_token != 1)}"
        more = "; `forge doctor` says more" if event.record else ""
        self.say(
            f"{event.source} failed ({event.reason}); the reply goes on with {where} {tokens}{more}"
        )

    def note(self, text: str) -> None:
        """Worth knowing, but only for someone who looks."""
        if self._terminal:
            self.say(text)

    def say(self, text: str) -> None:
        """One line on stderr."""
        self.status("")
        print(f"forge: {text}", file=sys.stderr, flush=True)

    def status(self, text: str) -> None:
        """Replace the progress line; "" removes it."""
        if self._terminal and text != self._status:
            print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
            self._status = text


def load(engine: Engine, screen: Screen, *, chat: bool = False) -> bool:
    """Load the model before the first prompt, for a `chat` or not; False when it was cancelled."""
    for event in engine.load(chat=chat):
        match event:
            case Loading() | Ready():
                screen.progress(event)
            case Fallback():
                screen.fallback(event)
    for warning in engine.tokenizer.warnings:
        screen.say(f"{engine.model.name}: {warning}")
    return engine.is_ready


@contextmanager
def interrupts(engine: Engine) -> Iterator[None]:
    """The first Ctrl-C stops what the engine is doing, a second one the program."""

    def stop(_: int, __: FrameType | None) -> None:
        if not engine.cancel():
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
