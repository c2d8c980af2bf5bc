"""`forge doctor --experiment`: one strategy after the other, until a device does not come back.

After a kill the device is asked whether it is well, with settings that worked before, the backend
as it is rather than others. Where none has worked yet nobody can be asked: then only the kernel's
log and a process that stays in the driver tell that it is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from forge.doctor.experiment_plan import AS_IT_IS, Strategy, plan
from forge.doctor.experiment_trial import Outcome, Settings, attempt, still_well
from forge.doctor.judge import Finding
from forge.errors import BackendUnavailable
from forge.place import Place
from forge.spec import BackendSpec
from forge.worker_options import WorkerOptions

AFTER_A_KILL = 5.0
"""Seconds that known answers may take on a device where a worker was killed before."""


@dataclass(frozen=True, slots=True)
class Began:
    """A trial begins: of `backend` with `strategy`."""

    backend: str
    strategy: Strategy


@dataclass(frozen=True, slots=True)
class Asked:
    """After a kill: the device's answer, "" where it is well; None where nobody could be asked."""

    backend: str
    answer: str | None


Step: TypeAlias = Began | Outcome | Asked


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the choice of strategies depends on.

    findings: the doctor's. gpus: how many AMD GPUs there are. own: the person's strategies.
    chosen: the backend that the person asked about; "" for all that have a device.
    only: ids of the strategies to try, beside the backend as it is; none for all.
    """

    findings: tuple[Finding, ...] = ()
    gpus: int = 0
    own: tuple[Strategy, ...] = ()
    chosen: str = ""
    only: tuple[str, ...] = ()

    def strategies(
        self, spec: BackendSpec, options: WorkerOptions, first: Outcome | None = None
    ) -> list[Strategy]:
        """For a backend; of its other devices it is known once it was opened as it is.

        One that is unavailable as it is, which is no failure, is tried only with what the person or
        a finding suggests, or without a variable that may hide its device.
        """
        if spec.floor or self.chosen not in ("", spec.name):
            return []
        found = plan(
            spec,
            Settings(spec, options).environment,
            findings=self.findings,
            gpus=self.gpus,
            device=first.device if first else None,
            devices=first.devices if first else (),
            own=self.own,
        )
        if self.only:
            return [strategy for strategy in found if strategy.id in self.only]
        if first and first.kind == BackendUnavailable.__name__:
            return [s for s in found if s in self.own or s.because or s.unset]
        return found


@dataclass(slots=True)
class Experiment:
    """Owns what came out so far.

    outcomes: in the order of the trials. stopped: why not everything was tried, "" if it was;
    untried: backends and ids of strategies that were left. working: settings that known answers
    came out right with, by backend and the key of its device.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    stopped: str = ""
    untried: list[tuple[str, str]] = field(default_factory=list)
    working: dict[tuple[str, str], Settings] = field(default_factory=dict)

    def run(
        self,
        places: Sequence[Place],
        options: WorkerOptions,
        here: Circumstances,
        count: int,
        interrupted: Callable[[], bool],
    ) -> Generator[Step, None, None]:
        """Try everything; `count` tokens each. ForgeError where the model is bad."""
        for place in places:
            first = None
            todo = [AS_IT_IS]
            while todo:
                settings = Settings(place.spec, options, todo.pop(0))
                if not self.stopped and interrupted():
                    self.stopped = "you stopped it"
                if self.stopped:
                    self.untried.append((place.spec.name, settings.strategy.id))
                else:
                    outcome = yield from self._try(settings, count, interrupted)
                    first = first or outcome
                if settings.strategy is AS_IT_IS:
                    todo = here.strategies(place.spec, options, first)

    def _try(
        self, settings: Settings, count: int, interrupted: Callable[[], bool]
    ) -> Generator[Step, None, Outcome]:
        name = settings.spec.name
        yield Began(name, settings.strategy)
        outcome = attempt(settings, count, interrupted)
        self.outcomes.append(outcome)
        yield outcome
        if outcome.kind == "stopped":
            self.stopped = "you stopped it"
        elif outcome.lost:
            self.stopped = f"{name}: {outcome.lost}"
        elif outcome.accused:
            yield from self._ask(outcome, settings)
        if outcome.proved and not self.stopped:
            where = (name, outcome.device.key if outcome.device else "")
            if where not in self.working or settings.strategy is AS_IT_IS:
                self.working[where] = settings
        return outcome

    def _ask(self, outcome: Outcome, failed: Settings) -> Generator[Step, None, None]:
        """Whether the device is well after a kill."""
        witness = self._witness(outcome, failed)
        if witness is None:
            yield Asked(outcome.backend, None)
            return
        seconds = AFTER_A_KILL * max(1.0, failed.options.patience)
        answer = still_well(witness, seconds)
        yield Asked(outcome.backend, answer)
        if answer:
            self.stopped = (
                f"{witness.spec.name} ({witness.strategy.id}), where known answers came out right "
                f"before, fails on this device now: {answer}"
            )

    def _witness(self, outcome: Outcome, failed: Settings) -> Settings | None:
        """Settings that worked on the same device: of the same backend, or of another one."""
        if failed.spec.floor:
            return None
        found = {where: s for where, s in self.working.items() if not s.spec.floor}
        if outcome.device is None:
            plain = failed.strategy.device is None
            mine = (s for (name, _), s in found.items() if name == outcome.backend and plain)
            return next(mine, None)
        key = outcome.device.key
        if known := found.get((outcome.backend, key)):
            return known
        if outcome.proved:  # known answers were right before it failed: ask the same again
            return failed
        return next((s for (_, where), s in found.items() if where == key), None)

    def winners(self) -> list[Outcome]:
        """For each backend that fails as it is: what came to the end, the fastest of it."""
        found = []
        for name in dict.fromkeys(outcome.backend for outcome in self.outcomes):
            rows = [outcome for outcome in self.outcomes if outcome.backend == name]
            plain = [row for row in rows if row.strategy is AS_IT_IS]
            good = [row for row in rows if row.ok and row.strategy is not AS_IT_IS]
            if good and not any(row.ok for row in plain):
                found.append(max(good, key=lambda row: row.tokens_per_s or 0.0))
        return found
