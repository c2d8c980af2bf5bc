"""Keeps one healthy runner and moves the reply to the next backend when it fails."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from forge.errors import BackendError, ForgeError, NoBackend
from forge.events import Event, Fallback, FinishReason, Prefill, Ready, Token
from forge.runner import Runner
from forge.sampling import SamplingParams
from forge.spec import BackendSpec
from forge.worker_options import WorkerOptions


@dataclass(slots=True)
class Attempt:
    """What one request has been through."""

    emitted: list[int] = field(default_factory=list)
    fallbacks: list[Fallback] = field(default_factory=list)
    restarted: bool = False


class Supervisor:
    """Owns the order of backends, the one runner, and which backends are out.

    A backend that failed is not tried again. One that is the floor has no device to lose: it gets a
    fresh worker once a reply.
    """

    def __init__(
        self, specs: Sequence[BackendSpec], options: WorkerOptions, *, strict: bool = False
    ) -> None:
        if not specs:
            raise NoBackend("no backend is installed: run `forge plugins` to see why")
        self._specs = list(specs)
        self._options = options
        self._strict = strict
        self._active = self._cancelled = False
        self._left_behind: list[Runner] = []
        self.failures: dict[str, BackendError] = {}
        self.runner: Runner | None = None

    @property
    def ready(self) -> Ready | None:
        """What answers now, if anything does."""
        return self.runner.ready_info if self.runner else None

    def cancel(self) -> bool:
        """Stop the request in progress soon; False if there is none, or it was told already.

        May be called from a signal handler or another thread.
        """
        if self._cancelled or not self._active:
            return False
        self._cancelled = True
        return True

    @contextmanager
    def _request(self) -> Iterator[None]:
        """While a request is in progress, it can be cancelled."""
        self._active, self._cancelled = True, False
        try:
            yield
        finally:
            self._active = False

    def cancelled(self) -> bool:
        """Whether the request in progress is to stop."""
        return self._cancelled

    def spawn(self) -> None:
        """Start the first backend's worker, which loads while the host does something else."""
        with suppress(BackendError):  # whoever waits for the model tries again, and falls back
            self._start()

    def _start(self) -> Runner:
        """The first backend's worker; a fresh one where it was killed half-way in a message."""
        if self.runner is not None and not self.runner.usable:
            self._drop()
        if self.runner is None:
            if not self._specs:
                raise self._none_left()
            self.runner = Runner(self._specs[0], self._options)
        return self.runner

    def load(self) -> Generator[Event, None, bool]:
        """Have a backend ready; False when cancelled."""
        with self._request():
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
        """The reply, on the best backend that still works; what was emitted is never repeated."""
        with self._request():
            return (yield from self._generate(list(tokens), params, count, stops, reuse))

    def _generate(
        self,
        tokens: list[int],
        params: SamplingParams,
        count: int,
        stops: Sequence[int],
        reuse: bool,
    ) -> Generator[Event, None, FinishReason]:
        attempt = Attempt()
        while True:
            try:
                runner = yield from self._ready(attempt)
                if runner is None:
                    return "cancelled"
                if attempt.emitted and len(tokens) + len(attempt.emitted) >= runner.context:
                    return "context"  # that of the next backend may be smaller
                events = runner.generate(
                    [*tokens, *attempt.emitted],
                    params,
                    count - len(attempt.emitted),
                    stops,
                    self.cancelled,
                    reuse=reuse,
                )
                return (yield from _recorded(events, attempt.emitted))
            except NoBackend:
                raise
            except BackendError as error:
                yield self._replace(error, attempt)
                if len(attempt.emitted) == count:
                    return "length"

    def logits(self, tokens: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Blocks of logits; never moves to another backend."""
        if self.runner is None or not self.runner.ready_info or not self.runner.usable:
            for _ in self.load():
                pass
        if self.runner is None:
            raise NoBackend("no backend is ready")
        try:
            yield from self.runner.logits(tokens)
        except BackendError as error:
            self._retire(error)
            raise

    def _ready(self, attempt: Attempt) -> Generator[Event, None, Runner | None]:
        """A runner that holds the model, replacing those that fail on the way; None: cancelled."""
        while True:
            try:
                runner = self._start()
                if (yield from runner.ready(self.cancelled)):
                    return runner
                self._drop()
                return None
            except NoBackend:
                raise
            except BackendError as error:
                yield self._replace(error, attempt)
            except ForgeError:  # the model itself: no other backend would take it either
                self._drop()
                raise

    def _replace(self, error: BackendError, attempt: Attempt) -> Fallback:
        """Kill the failed worker and say where the reply goes on; raise when nowhere."""
        failed = self._specs[0]
        self._retire(error)
        if self._strict:
            raise type(error)(f"{failed.name}: {error} (--strict: no other backend is tried)")
        if failed.floor and attempt.restarted:
            if len(self._specs) == 1:
                raise self._none_left() from error
            self._specs.pop(0)
        attempt.restarted |= failed.floor
        if not self._specs:
            raise self._none_left() from error
        fallback = Fallback(failed.name, self._specs[0].name, str(error), len(attempt.emitted))
        attempt.fallbacks.append(fallback)
        return fallback

    def _retire(self, error: BackendError) -> None:
        """End the first backend's worker; unless it is the floor it is not tried again.

        A strict supervisor is left with the floor or with nothing.
        """
        self._drop()
        failed = self._specs[0]
        self.failures[failed.name] = error
        if not failed.floor:
            self._specs = [] if self._strict else self._specs[1:]

    def _none_left(self) -> NoBackend:
        reasons = "; ".join(f"{name}: {error}" for name, error in self.failures.items())
        return NoBackend(f"no backend is left to answer. {reasons}")

    def _drop(self) -> None:
        """End the current worker without waiting for one that is stuck in its driver."""
        if self.runner is not None:
            if not self.runner.kill():
                self._left_behind.append(self.runner)
            self.runner = None
        self._left_behind = [runner for runner in self._left_behind if not runner.gone()]

    def close(self) -> None:
        """End the worker and give the device back."""
        if self.runner is not None:
            self.runner.close()
        self._drop()


def _recorded(
    events: Generator[Prefill | Token, None, FinishReason], emitted: list[int]
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
            yield event
