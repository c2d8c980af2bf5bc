"""One trial: a backend in a throw-away worker, from its start to the last token of a short reply.

It is supervised and written down as a reply is: the marker before, the record of a failure after.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeVar

from forge.doctor.experiment_plan import AS_IT_IS, Strategy
from forge.errors import BackendError, BackendHung, BackendUnavailable
from forge.events import Event, Token
from forge.health import Device
from forge.inquiry import inquire
from forge.past import Past, accused, described
from forge.runner import Runner
from forge.sampling import SamplingParams
from forge.spec import BackendSpec
from forge.state import Ledger
from forge.worker_options import WorkerOptions

PROMPT = 64
"""Tokens of the prompt, which are no text: any ids make a device work as hard."""
_PRIME = 7919

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a trial.

    reached: the phase that it failed in, or "reply" for one that came to the end. seconds: all of
    it took; tokens: of the reply; tokens_per_s: without the first one, None where there were fewer
    than two. kind: the name of the error's class, "" where there is none; "stopped" by the person.
    accused: the backend or its device failed, rather than said no. lost: why the device is not to
    be touched any more, "" where it may be. record: the file where the failure is kept.
    """

    backend: str
    strategy: Strategy
    reached: str = "start"
    ok: bool = False
    kind: str = ""
    error: str = ""
    seconds: float = 0.0
    tokens: int = 0
    tokens_per_s: float | None = None
    device: Device | None = None
    devices: tuple[Device, ...] = ()
    proved: bool = False
    accused: bool = False
    lost: str = ""
    record: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """A backend with one strategy, and what its worker is started with."""

    spec: BackendSpec
    options: WorkerOptions
    strategy: Strategy = field(default=AS_IT_IS)

    @property
    def changed(self) -> BackendSpec:
        """The backend with the strategy's variables."""
        kept = {n: v for n, v in self.spec.env.items() if n not in self.strategy.unset}
        return replace(self.spec, env={**kept, **self.strategy.env})

    @property
    def choices(self) -> WorkerOptions:
        """The options with the strategy's device."""
        if self.strategy.device is None:
            return self.options
        return replace(self.options, device=self.strategy.device, asked=self.spec.name)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of a worker without the strategy."""
        return {**os.environ, **self.spec.env}


@contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """This process's environment without these: a worker inherits it, and a key is made of it."""
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)


def attempt(settings: Settings, count: int, interrupted: Callable[[], bool]) -> Outcome:
    """Open, known answers, load, a prompt and `count` tokens; ForgeError where the model is bad."""
    with _trial(settings, interrupted) as trial:
        return trial.run(count)


def still_well(settings: Settings, seconds: float) -> str:
    """Whether known answers come out right within that time: "", or why not."""
    with _trial(settings) as trial:
        return trial.known_answers(seconds)


@contextmanager
def _trial(settings: Settings, interrupted: Callable[[], bool] = lambda: False) -> Iterator[_Trial]:
    past = Past(settings.choices, Ledger.open())
    with _without(settings.strategy.unset), closing(past):
        yield _Trial(settings, past, interrupted)


class _Trial:
    """Owns the worker and the marker of one trial."""

    def __init__(self, settings: Settings, past: Past, interrupted: Callable[[], bool]) -> None:
        self._spec, self._past, self._interrupted = settings.changed, past, interrupted
        self._options = settings.choices
        self._least = PROMPT if settings.strategy.frugal else 0
        self._outcome = Outcome(settings.spec.name, settings.strategy)
        self._runner: Runner | None = None
        self._tokens = 0
        self._started = time.monotonic()

    def run(self, count: int) -> Outcome:
        try:
            reached = self._all(count)
            if reached:
                return self._told(reached=reached, ok=True)
            phase = self._runner.phase if self._runner else "start"
            return self._told(reached=phase, kind="stopped", error="stopped")
        except BackendError as error:
            return self._failed(error)
        finally:
            self._end()

    def known_answers(self, seconds: float) -> str:
        try:
            runner, end = self._start("check"), time.monotonic() + seconds
            for _ in runner.known_answers(lambda: time.monotonic() > end):
                pass
            if runner.probing:
                raise BackendHung(f"known answers took more than {seconds:g} s")
        except BackendError as error:
            self._failed(error)
            return str(error)
        finally:
            self._end()
        return ""

    def _start(self, phase: str) -> Runner:
        if lost := self._lost():
            raise BackendUnavailable(lost)
        self._past.mark(self._spec, phase)
        self._runner = Runner(
            self._spec,
            self._options,
            paces=self._past.paces(self._spec),
            least=self._least,
            probe=True,
        )
        return self._runner

    def _all(self, count: int) -> str:
        """How far it came, "" where the person stopped it."""
        runner = self._start("check")
        if not self._watched(runner, runner.probe(self._interrupted)):
            return ""
        self._past.proved(self._spec, time.monotonic() - runner.started)
        self._outcome = replace(self._outcome, proved=True)
        self._past.mark(self._spec, "load")
        if not self._watched(runner, runner.ready(self._interrupted)):
            return ""
        self._past.mark(self._spec, "decode")
        length = max(1, min(PROMPT, runner.context // 2))
        prompt = [(number * _PRIME + 1) % runner.vocabulary for number in range(length)]
        room = min(count, runner.context - length)
        params = SamplingParams(temperature=0)
        why = self._watched(runner, runner.generate(prompt, params, room, [], self._interrupted))
        return "" if why == "cancelled" else "reply"

    def _watched(self, runner: Runner, events: Generator[Event, None, R]) -> R:
        """What they return; the device is noted, and left alone where it is lost."""
        known = runner.device is not None
        with closing(events):
            while True:
                try:
                    event = next(events)
                except StopIteration as end:
                    value: R = end.value
                    return value
                self._tokens += isinstance(event, Token)
                if runner.device is not None and not known:
                    known = True
                    self._past.opened(self._spec, runner.device)
                    if lost := self._lost():
                        raise BackendUnavailable(lost)

    def _lost(self) -> str:
        """A quarantine of one setting is no obstacle here; a device that is lost to all is."""
        found = self._past.quarantine(self._spec)
        return described(found) if found and found.every_backend else ""

    def _failed(self, error: BackendError) -> Outcome:
        """Kill the worker and write down what is known, as after a failure in a reply."""
        runner, lost, guilty, record, phase = self._runner, "", False, "", "start"
        if runner is not None:
            phase = runner.phase
            incident = inquire(runner, error, self._tokens)
            ended = runner.kill()
            if not ended:
                self._past.stuck(self._spec, runner.pid)
                lost = "its worker was killed and stays in the driver"
            self._past.unmark()
            record = self._past.failed(self._spec, error, replace(incident, left_behind=not ended))
            guilty = accused(self._spec, error, incident)
            lost = lost or (self._lost() if guilty else "")
        return self._told(
            reached=phase,
            kind=type(error).__name__,
            error=str(error),
            accused=guilty,
            lost=lost,
            record=record,
        )

    def _told(self, **known: object) -> Outcome:
        runner, rate = self._runner, None
        pace = runner.pace if runner else None
        if pace and pace.decoded and pace.first is not None and pace.last is not None:
            rate = round(pace.decoded / max(1e-9, pace.last - pace.first), 2)
        return replace(
            self._outcome,
            seconds=round(time.monotonic() - self._started, 3),
            tokens=self._tokens,
            tokens_per_s=rate,
            device=runner.device if runner else None,
            devices=runner.devices if runner else (),
            **known,  # type: ignore[arg-type]  # each caller names fields of Outcome
        )

    def _end(self) -> None:
        """Let the worker give its device back, where it still can."""
        if self._runner is not None:
            self._runner.close()
        self._past.unmark()
