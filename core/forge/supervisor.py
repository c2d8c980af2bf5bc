"""Keeps one healthy runner and moves the reply to the next backend when it fails."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from forge.errors import (
    BackendError,
    BackendHung,
    BackendOutOfMemory,
    BackendUnavailable,
    ForgeError,
    NoBackend,
    UsageError,
)
from forge.events import Event, Fallback, FinishReason, Prefill, Ready, Token
from forge.incident import Incident
from forge.inquiry import inquire
from forge.past import AFTER_A_KILL, TOO_SLOW, Past, described
from forge.place import Place
from forge.requests import Requests
from forge.runner import Runner
from forge.sampling import SamplingParams
from forge.spec import BackendSpec
from forge.worker_options import WorkerOptions

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
        places = [item for item in order if isinstance(item, Place)]
        self._objections = {place.spec.name: place.objection for place in places}
        self._specs = [item.spec if isinstance(item, Place) else item for item in order]
        self._options = options
        self._strict = strict
        self._past = past or Past(options)
        self._wants_standby = standby
        self.standby: Runner | None = None
        self._requests = Requests(self._settle)
        self._closed = False
        self._left_behind: list[Runner] = []
        self._frugal: dict[str, int] = {}
        self.failures: dict[str, BackendError] = {}
        self.runner: Runner | None = None
        self.answered: Runner | None = None
        """Whose tokens came last."""

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
        with suppress(BackendError):  # whoever waits for the model tries again, and falls back
            self._start()

    def _start(self) -> Runner:
        """The first backend's worker; a fresh one where it was killed half-way in a message."""
        if self._closed:
            raise UsageError("the engine was closed: open another one")
        if self.runner is not None and not self.runner.usable:
            self._drop()
        if self.runner is None:
            if not self._specs:
                raise self._none_left()
            spec = self._specs[0]
            if objection := self._objections.get(spec.name):
                raise BackendUnavailable(objection)
            if found := self._past.quarantine(spec):
                raise BackendUnavailable(described(found))
            if self.standby is not None and self.standby.spec is spec:
                standby, self.standby = self.standby, None
                if standby.usable:
                    self.runner = standby
                    return standby
                standby.kill()
            probe = self._past.doubtful(spec)
            self._past.mark(spec, "check" if probe else "load")
            self.runner = self._new(spec, probe=probe)
        return self.runner

    def _new(self, spec: BackendSpec, *, probe: bool = False) -> Runner:
        least = self._frugal.get(spec.name, 0)
        paces = self._past.paces(spec)
        return Runner(spec, self._options, paces=paces, least=least, probe=probe)

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
                if self.standby is not None:
                    self.standby.gather()
                yield event

    def logits(self, tokens: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Blocks of logits; never moves to another backend, and cannot be cancelled, only left."""
        if self.runner is None or not self.runner.ready_info or not self.runner.usable:
            for _ in self.load():
                pass
        if self.runner is None:
            raise NoBackend("no backend is ready")
        yield from self._requests.asked(self._logits(self.runner, tokens), cancellable=False)

    def _logits(self, runner: Runner, tokens: Sequence[int]) -> Generator[NDArray[Any], None, None]:
        self._past.mark(runner.spec, "evaluate")
        try:
            yield from runner.logits(tokens)
        except BackendError as error:
            if incident := self._retire(error, 0):
                self._past.failed(runner.spec, error, incident)
            raise

    def _ready(self, attempt: Attempt) -> Generator[Event, None, Runner | None]:
        """A runner that holds the model, replacing those that fail on the way; None: cancelled."""
        while True:
            try:
                runner = self._start()
                if (yield from self._loaded(runner)):
                    return runner
                self._drop()
                return None
            except NoBackend:
                raise
            except _AnotherDevice:
                self._drop()
            except BackendError as error:
                yield self._replace(error, attempt)
            except ForgeError:  # the model itself: no other backend would take it either
                self._drop()
                raise

    def _loaded(self, runner: Runner) -> Generator[Event, None, bool]:
        """Wait for known answers, where they are not known yet, and the model; False: cancelled."""
        if runner.probing:
            if not (yield from self._seen(runner, self._probed(runner))):
                return False
            self._past.proved(runner.spec, time.monotonic() - runner.started)
            self._past.mark(runner.spec, "load")
        if not (yield from self._seen(runner, runner.ready(self.cancelled))):
            return False
        if self._wants_standby and self.standby is None and len(self._specs) > 1:
            following = self._specs[1]
            if following.floor:
                with suppress(BackendError):
                    self.standby = self._new(following)
        return True

    def _probed(self, runner: Runner) -> Generator[Event, None, bool]:
        """Known answers came out right; they have little time where a worker was killed before.

        One that is slow there is passed over and not accused: what it needs to say more, such as
        kernels that are compiled for the first time, may take longer on a sound device.
        """
        end = float("inf")

        def over() -> bool:
            nonlocal end
            if end == float("inf") and runner.phase != "start" and self._past.suspect(runner.spec):
                end = time.monotonic() + AFTER_A_KILL
            return self.cancelled() or time.monotonic() > end

        if (yield from runner.probe(over)):
            return True
        if self.cancelled():
            return False
        raise BackendUnavailable(TOO_SLOW)

    def _seen(
        self, runner: Runner, events: Generator[Event, None, bool]
    ) -> Generator[Event, None, bool]:
        """The same events; the device is noted, and turned down if something is known of it."""
        known = runner.device is not None
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                done: bool = end.value
                return done
            if runner.device is not None and not known:
                known = True
                self._past.opened(runner.spec, runner.device)
                if found := self._past.quarantine(runner.spec):
                    raise BackendUnavailable(described(found))
                if not runner.probing and self._past.doubtful(runner.spec):
                    raise _AnotherDevice
            yield event

    def _replace(self, error: BackendError, attempt: Attempt) -> Fallback:
        """Kill the failed worker and say where the reply goes on; raise when nowhere."""
        if self._closed:  # by another thread: nobody failed
            raise UsageError("the engine was closed in the middle of a reply") from error
        failed, shown = self._specs[0], len(attempt.emitted)
        again = self._again(failed, error, attempt)
        incident = self._retire(error, shown, again=again)
        attempt.restarted |= failed.floor
        if failed.floor and not again and not self._strict:
            self._specs.pop(0)
        goes_on = bool(self._specs) and not self._strict
        if goes_on and self._specs[0].floor:
            self.spawn()  # it loads while the failure is written down
        record = self._past.failed(failed, error, incident) if incident else ""
        if self._strict:
            raise type(error)(f"{failed.name}: {error} (--strict: no other backend is tried)")
        if not goes_on:
            if failed.floor:
                self._specs = [failed]
            raise self._none_left() from error
        tried = incident is not None
        fallback = Fallback(failed.name, self._specs[0].name, str(error), shown, tried, record)
        attempt.fallbacks.append(fallback)
        return fallback

    def _again(self, failed: BackendSpec, error: BackendError, attempt: Attempt) -> bool:
        """Whether the failed backend gets a fresh worker: a floor once a reply, another one when it
        ran out of memory for the first time."""
        first = isinstance(error, BackendOutOfMemory) and failed.name not in self._frugal
        if first and not self._strict:
            self._frugal[failed.name] = attempt.needed
        return not attempt.restarted if failed.floor else first and not self._strict

    def _retire(self, error: BackendError, tokens: int, *, again: bool = False) -> Incident | None:
        """End the first backend's worker; unless it gets another one it is not tried again.

        A strict supervisor is left with the floor or with nothing. Returns what was found out; None
        where no worker was started, or one that had too little memory.
        """
        failed, runner = self._specs[0], self.runner
        incident = inquire(runner, error, tokens) if runner else None
        left_behind = not self._drop()
        self._past.unmark()
        self.failures[failed.name] = error
        if not failed.floor and not again:
            self._specs = [] if self._strict else self._specs[1:]
        return incident and replace(incident, left_behind=left_behind)

    def _none_left(self) -> NoBackend:
        reasons = "; ".join(f"{name}: {error}" for name, error in self.failures.items())
        return NoBackend(f"no backend is left to answer. {reasons}")

    def _drop(self) -> bool:
        """End the current worker; False for one that is stuck in its driver and was left behind."""
        ended = True
        if self.runner is not None:
            ended = self.runner.kill()
            if not ended:
                self._left_behind.append(self.runner)
                self._past.stuck(self.runner.spec, self.runner.pid)
            self.runner = None
        self._left_behind = [runner for runner in self._left_behind if not runner.gone()]
        return ended

    def close(self) -> None:
        """End the workers and give the device back; what hung since it was cancelled is noted."""
        self._closed = True
        if self.runner is not None and self.runner.hangs():
            error = BackendHung(f"no answer for {self.runner.silent_s:.3g} s after a cancel")
            self._past.failed(self.runner.spec, error, inquire(self.runner, error, 0))
        for runner in (self.runner, self.standby):
            if runner is not None:
                runner.close()
        self._drop()
        self._past.close()


class _AnotherDevice(Exception):
    """The backend opened one that needs known answers first, unlike the one it opened before."""
