"""The engine in a thread of its own: it is asked in one direction, and tells in the other.

No call of the user interface waits for it. What it tells lies in a queue until somebody reads it;
`wake` is called once for everything that came since the last look, so that two hundred tokens a
second are not four hundred messages.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from forge import BackendSpec, Engine, Health, PullProgress, SamplingParams, Session, Watch

_LAST_SECONDS = 10.0
"""For the engine's end; a worker that the kernel cannot end is left to it."""
RESERVE = 16
"""Tokens that a reply needs at least, or the context counts as full."""


@dataclass(frozen=True, slots=True)
class Choices:
    """What an engine is opened with; `opened` makes it, `forge.Engine` by default."""

    model: str | None = None
    backend: str | BackendSpec = "auto"
    options: Mapping[str, Any] = field(default_factory=dict)
    opened: Callable[..., Engine] | None = None


@dataclass(frozen=True, slots=True)
class Loaded:
    """A backend holds the model, called `name` by people; `places` is how each backend fares."""

    name: str
    path: Path
    backend: str
    device: str
    context: int
    places: tuple[Health, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Absent:
    """The model is not on this machine; `name` is what would fetch it, `reason` what was said."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A request came to nothing; `reason` says what to do."""

    reason: str


@dataclass(frozen=True, slots=True)
class Full:
    """The prompt of `tokens` leaves no room for a reply in the context."""

    tokens: int
    context: int


@dataclass(frozen=True, slots=True)
class Told:
    """Something that happened in a request: an engine's event, or one of those above."""

    request: int
    news: Any


class _Stopped(Exception):
    """The person does not want it any more."""


class EngineThread:
    """Owns the engine; every method may be called from the user interface and returns at once."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._woken = threading.Event()
        self._news: deque[Told] = deque()
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._number = 0
        self._now = 0
        self._stopped: set[int] = set()
        self._engine: Engine | None = None
        self._session: Session | None = None
        self._thread = threading.Thread(target=self._work, name="forge-engine", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def drain(self) -> list[Told]:
        """What happened since the last call, in order."""
        self._woken.clear()
        found = []
        while self._news:
            found.append(self._news.popleft())
        return found

    def load(self, choices: Choices) -> int:
        """Open a model, in place of the one that is open; the request's number."""
        return self._ask(partial(self._load, choices))

    def pull(self, name: str) -> int:
        """Fetch a model; the request's number."""
        return self._ask(partial(self._pull, name))

    def answer(
        self,
        messages: Sequence[Mapping[str, str]],
        params: SamplingParams | None = None,
        max_tokens: int | None = None,
    ) -> int:
        """Answer the last of the messages, which is the person's; the request's number."""
        return self._ask(partial(self._answer, list(messages), params, max_tokens))

    def stop(self, request: int) -> None:
        """Have a request end soon; what is told of it until then may be ignored."""
        self._stopped.add(request)
        if self._now == request and (engine := self._engine):
            engine.cancel()

    def watch(self) -> Watch | None:
        """What the watchdog sees now."""
        engine = self._engine
        return engine.watch() if engine else None

    def log_tail(self) -> str:
        """The end of what the worker printed."""
        engine = self._engine
        return engine.log_tail() if engine else ""

    def worker_pid(self) -> int | None:
        """The process that holds the model."""
        engine = self._engine
        return engine.worker_pid if engine else None

    def close(self) -> None:
        """Stop what is in progress, end the worker, and wait for that a limited time."""
        for number in range(1, self._number + 1):
            self._stopped.add(number)
        if engine := self._engine:
            engine.cancel()
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(_LAST_SECONDS)

    def _ask(self, job: Callable[[int], None]) -> int:
        self._number += 1
        self._jobs.put(partial(self._run, self._number, job))
        return self._number

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        self._close()

    def _close(self) -> None:
        engine, self._engine, self._session = self._engine, None, None
        if engine:
            engine.close()

    def _run(self, number: int, job: Callable[[int], None]) -> None:
        from forge import ForgeError  # the first paint does not wait for it

        self._now = number
        try:
            if number not in self._stopped:
                job(number)
        except _Stopped:
            self._tell(number, Failed("stopped"))
        except ForgeError as error:
            self._tell(number, Failed(str(error)))
        except MemoryError:
            self._tell(number, Failed("out of memory: choose a smaller model or context"))
        except Exception as error:  # noqa: BLE001  # a thread that died would leave a silent screen
            self._tell(number, Failed(f"{type(error).__name__}: {error}"))
        finally:
            self._now = 0
            self._stopped.discard(number)

    def _tell(self, number: int, news: Any) -> None:
        self._news.append(Told(number, news))
        if not self._woken.is_set():
            self._woken.set()
            self._wake()

    def _load(self, choices: Choices, number: int) -> None:
        from forge import DEFAULT_MODEL, Engine, ModelNotFound, StoreError, resolve

        try:
            path = resolve(choices.model, offline=True)
        except (StoreError, ModelNotFound) as error:
            self._tell(number, Absent(choices.model or DEFAULT_MODEL.name, str(error)))
            return
        self._close()
        make = choices.opened or Engine
        engine = make(path, backend=choices.backend, **choices.options)
        self._engine = engine
        if number in self._stopped:
            raise _Stopped
        try:
            for event in engine.load(chat=True):
                self._tell(number, event)
                if number in self._stopped:
                    engine.cancel()
        except BaseException:
            self._close()
            raise
        if not engine.is_ready:
            self._close()
            raise _Stopped
        ready = engine.ready
        self._tell(
            number,
            Loaded(
                _short(choices.model or DEFAULT_MODEL.name),
                *(path, ready.backend, ready.device, ready.context),
                tuple(engine.health()),
                tuple(engine.tokenizer.warnings),
            ),
        )

    def _pull(self, name: str, number: int) -> None:
        from forge import pull

        def report(progress: PullProgress) -> None:
            if number in self._stopped:
                raise _Stopped
            self._tell(number, progress)

        pull(name, progress=report)

    def _answer(
        self,
        messages: list[Mapping[str, str]],
        params: SamplingParams | None,
        max_tokens: int | None,
        number: int,
    ) -> None:
        engine = self._engine
        if engine is None:
            self._tell(number, Failed("no model is loaded: choose one"))
            return
        # A fork knows the ids of what was said, so that the backend's cache is found again.
        session = self._session.fork(0) if self._session else engine.chat()
        self._session = session
        session.messages = [dict(message) for message in messages]
        tokens = len(session.tokens)
        if tokens + RESERVE > engine.context:
            self._tell(number, Full(tokens, engine.context))
            return
        with closing(session.regenerate(params, max_tokens=max_tokens)) as events:
            if number in self._stopped:
                engine.cancel()
            for event in events:
                self._tell(number, event)


def _short(name: str) -> str:
    """A model's name without the folders that it lies in."""
    return name.rsplit("/", 1)[-1].removesuffix(".gguf")
