"""Keeps one healthy runner and moves the reply to the next backend when it fails."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from numpy.typing import NDArray

from forge.errors import (
    BackendError,
    BackendOutOfMemory,
    BackendUnavailable,
    BackendUnsupported,
    ForgeError,
    NoBackend,
    UsageError,
)
from forge.events import Event, Fallback, FinishReason, Loading, Prefill, Ready, Token
from forge.incident import Incident
from forge.inquiry import inquire
from forge.past import Past
from forge.place import Place
from forge.profile import RunProfile
from forge.requests import Requests
from forge.runner import Runner
from forge.sampling import SamplingParams
from forge.spec import BackendSpec
from forge.worker_options import WorkerOptions
from forge.workers import Workers

E = TypeVar("E")
T = TypeVar("T")

_ROOM = 256
"""Tokens of a reply that have to fit where memory is short."""


@dataclass(slots=True)
class Attempt:
    """What one request has been through; `needed` tokens are its prompt and the reply's room."""

    needed: int = 1
    emitted: list[int] = field(default_factory=list)
    fallbacks: list[Fallback] = field(default_factory=list)
    restarted: bool = False


class Supervisor:
    """Owns the order of backends, the one runner, and which backends are out.

    A backend that failed is not tried again. One that is the floor has no device to lose: it gets a
    fresh worker once a reply. Where memory ran out a backend is tried once more, with less.
    """

    def __init__(
        self,
        order: Sequence[BackendSpec | Place],
        options: WorkerOptions,
        *,
        strict: bool = False,
        past: Past | None = None,
        standby: bool = False,
    ) -> None:
        if not order:
            raise NoBackend("no backend is installed: run `forge plugins` to see why")
        order = [item for item in order if not (isinstance(item, Place) and item.nothing)] or order
        places = [item for item in order if isinstance(item, Place)]
        objections = {place.spec.name: place.objection for place in places}
        specs = [item.spec if isinstance(item, Place) else item for item in order]
        self._strict = strict
        self._past = past or Past(options)
        self._workers = Workers(specs, objections, options, self._past, standby=standby)
        self._requests = Requests(self._settle)
        self.failures: dict[str, BackendError] = {}
        self.answered: Runner | None = None
        """Whose tokens came last."""

    @property
    def runner(self) -> Runner | None:
        """The worker that answers, or is on its way to."""
        return self._workers.runner

    @property
    def left_behind(self) -> Sequence[Runner]:
        """Workers that were killed and stayed in their drivers."""
        return self._workers.left_behind

    @property
    def standby(self) -> Runner | None:
        """The worker that holds the model on the next backend, if one does."""
        return self._workers.standby

    @property
    def ready(self) -> Ready | None:
        """What answers now, if anything does."""
        return self.runner.ready_info if self.runner else None

    def cancel(self) -> bool:
        """Stop the request in progress soon; False if there is none, or it was told already.

        May be called from a signal handler or another thread.
        """
        return self._requests.cancel()

    def cancelled(self) -> bool:
        """Whether the request in progress is to stop."""
        return self._requests.cancelled

    def _settle(self) -> None:
        """A request has ended. Its marker goes once the worker says that the device is idle: people
        cancel what seems to hang, and the machine may go down with it."""
        if self.runner is None or self.runner.spec.floor or self.runner.rests():
            self._past.unmark()
        self._past.remember()

    def spawn(self) -> None:
        """Start the first backend's worker, which loads while the host does something else."""
        if self._workers.specs:
            self._workers.spawn()

    def load(self) -> Generator[Event, None, bool]:
        """Have a backend ready; False when cancelled."""
        return self._requests.asked(self._load())

    def _load(self) -> Generator[Event, None, bool]:
        return (yield from self._ready(Attempt())) is not None

    def generate(
        self,
        tokens: Sequence[int],
        params: SamplingParams,
        count: int,
        stops: Sequence[int],
        *,
        reuse: bool = True,
    ) -> Generator[Event, None, FinishReason]:
        """The reply, on the best backend that still works; what was emitted is never repeated.

        It can be cancelled before its first event is read.
        """
        return self._requests.asked(self._generate(list(tokens), params, count, stops, reuse))

    def _generate(
        self,
        tokens: list[int],
        params: SamplingParams,
        count: int,
        stops: Sequence[int],
        reuse: bool,
    ) -> Generator[Event, None, FinishReason]:
        attempt = Attempt(len(tokens) + min(count, _ROOM))
        while True:
            runner = yield from self._ready(attempt)
            if runner is None:
                return "cancelled"
            if attempt.emitted and len(tokens) + len(attempt.emitted) >= runner.context:
                return "context"  # that of the next backend may be smaller
            try:
                self._past.mark(runner.spec, "decode")
                self.answered = runner
                events = runner.generate(
                    [*tokens, *attempt.emitted],
                    params,
                    count - len(attempt.emitted),
                    stops,
                    self.cancelled,
                    reuse=reuse,
                )
                return (yield from self._recorded(events, attempt.emitted))
            except BackendError as error:
                yield self._replace(error, attempt)
                if len(attempt.emitted) == count:
                    return "length"

    def _recorded(
        self, events: Generator[Prefill | Token, None, FinishReason], emitted: list[int]
    ) -> Generator[Event, None, FinishReason]:
        """The same events; every token is noted before it is passed on."""
        with closing(events):
            while True:
                try:
                    event = next(events)
                except StopIteration as end:
                    reason: FinishReason = end.value
                    return reason
                if isinstance(event, Token):
                    emitted.append(event.id)
                if standby := self._workers.standby:
                    standby.gather()
                yield event

    def logits(self, tokens: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Blocks of logits."""
        return self._measured("evaluate", lambda runner: runner.logits(tokens))

    def profile(
        self, tokens: int, start: int, repetitions: int
    ) -> Generator[Loading, None, RunProfile]:
        """How long each kernel of a run takes on the device."""
        return self._measured("profile", lambda runner: runner.profile(tokens, start, repetitions))

    def _measured(
        self, phase: str, work: Callable[[Runner], Generator[E, None, T]]
    ) -> Generator[E, None, T]:
        """Never moves to another backend, and cannot be cancelled, only left."""
        if self.runner is None or not self.runner.ready_info or not self.runner.usable:
            for _ in self.load():
                pass
        if self.runner is None:
            raise NoBackend("no backend is ready")
        return (
            yield from self._requests.asked(
                self._alone(self.runner, phase, work(self.runner)), cancellable=False
            )
        )

    def _alone(
        self, runner: Runner, phase: str, work: Generator[E, None, T]
    ) -> Generator[E, None, T]:
        self._past.mark(runner.spec, phase)
        try:
            return (yield from work)
        except BackendUnsupported:
            raise
        except BackendError as error:
            if incident := self._retire(error, 0):
                self._past.failed(runner.spec, error, incident)
            raise

    def _ready(self, attempt: Attempt) -> Generator[Event, None, Runner | None]:
        """A runner that holds the model, replacing those that fail on the way; None: cancelled."""
        while True:
            if not self._workers.specs:
                raise self._none_left()
            try:
                return (yield from self._workers.ready(self.cancelled))
            except BackendError as error:
                yield self._replace(error, attempt)
            except UsageError:  # nobody's fault but the caller's
                raise
            except ForgeError:  # the model itself: no other backend would take it either
                self._workers.drop()
                raise

    def _replace(self, error: BackendError, attempt: Attempt) -> Fallback:
        """Kill the failed worker and say where the reply goes on; raise when nowhere."""
        if self._workers.closed:  # by another thread: nobody failed
            raise UsageError("the engine was closed in the middle of a reply") from error
        specs, shown = self._workers.specs, len(attempt.emitted)
        failed = specs[0]
        again = self._again(failed, error, attempt)
        incident = self._retire(error, shown, again=again)
        attempt.restarted |= failed.floor
        if failed.floor and not again and not self._strict:
            specs.pop(0)
        goes_on = bool(specs) and not self._strict
        if goes_on and specs[0].floor:
            self._workers.spawn()  # it loads while the failure is written down
        record = self._past.failed(failed, error, incident) if incident else ""
        if self._strict:
            raise type(error)(f"{failed.name}: {error} (--strict: no other backend is tried)")
        if not goes_on:
            if failed.floor:
                specs[:] = [failed]
            raise self._none_left() from error
        absent = isinstance(error, BackendUnavailable)
        if absent:
            self._past.unavailable(failed)
        tried = incident is not None and not absent
        fallback = Fallback(failed.name, specs[0].name, str(error), shown, tried, record)
        attempt.fallbacks.append(fallback)
        return fallback

    def _again(self, failed: BackendSpec, error: BackendError, attempt: Attempt) -> bool:
        """Whether the failed backend gets a fresh worker: a floor once a reply, another one when it
        ran out of memory for the first time."""
        first = isinstance(error, BackendOutOfMemory) and failed.name not in self._workers.frugal
        if first and not self._strict:
            self._workers.frugal[failed.name] = attempt.needed
        return not attempt.restarted if failed.floor else first and not self._strict

    def _retire(self, error: BackendError, tokens: int, *, again: bool = False) -> Incident | None:
        """End the first backend's worker; unless it gets another one it is not tried again.

        A strict supervisor is left with the floor or with nothing. Returns what was found out; None
        where no worker was started, or one that had too little memory.
        """
        specs, runner = self._workers.specs, self.runner
        failed = specs[0]
        incident = inquire(runner, error, tokens) if runner else None
        left_behind = not self._workers.drop()
        self._past.unmark()
        self.failures[failed.name] = error
        if not failed.floor and not again:
            specs[:] = [] if self._strict else specs[1:]
        return incident and replace(incident, left_behind=left_behind)

    def _none_left(self) -> NoBackend:
        reasons = "; ".join(f"{name}: {error}" for name, error in self.failures.items())
        return NoBackend(f"no backend is left to answer. {reasons}")

    def close(self) -> None:
        """End the workers and give the device back."""
        self._workers.close()
