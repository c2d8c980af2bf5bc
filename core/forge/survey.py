"""Opens backends for a moment, to see which of them can work here; and asks them known answers."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from forge.errors import BackendError, BackendUnavailable, NoBackend
from forge.health import Check, Health, Status, not_installed
from forge.inquiry import inquire
from forge.order import order
from forge.past import Past, described
from forge.place import Place
from forge.runner import Runner
from forge.spec import BackendSpec
from forge.state import Ledger
from forge.store import resolve
from forge.worker_options import WorkerOptions
from forge.workers import known_answers


def list_backends(
    specs: Sequence[BackendSpec] | None = None,
    options: WorkerOptions | None = None,
    *,
    probe: bool = False,
    remember: bool = True,
) -> Iterator[Health]:
    """The health of each backend (by default of all that are installed), in the order of `auto`.

    Each is opened in a worker of its own, which takes seconds; one that is in quarantine, or that
    the doctor advises against, is not. With `probe`, known answers of the options' model have to
    come out right as well, or of a small one of forge's own. `remember`: go by what happened here
    before, and keep what happens now.
    """
    options = replace(options or WorkerOptions(None), remember=remember)
    with _plan(options) if probe else _Plan(options) as plan:
        past = Past(plan.options, Ledger.open() if remember else None)
        yield from _look_at_all(specs, plan.options, past, probe=probe)


def _look_at_all(
    specs: Sequence[BackendSpec] | None, options: WorkerOptions, past: Past, *, probe: bool
) -> Iterator[Health]:
    with closing(past):
        places, absent = order(None, specs, past)
        for place in places:  # as if by its name: whoever lists them wants to see software, too
            asked = options if place.spec.floor else replace(options, asked=place.spec.name)
            yield _look(place, asked, past, probe=probe)
        for name, advice in absent.items():
            yield not_installed(name, advice)


@dataclass(frozen=True, slots=True)
class BestDevice:
    """The backend that would answer, on which device, and why it is this one."""

    backend: str
    device: str
    reason: str
    passed_over: tuple[Health, ...] = ()
    """What comes before it in the order, and how each of them is."""


def best_device(
    model: str | Path | None = None, *, backend: str | None = None, patience: float = 1.0
) -> BestDevice:
    """Which backend a reply would come from, asked before anything is committed to it.

    Backends are opened in the order of `auto`, each in a worker of its own under the watchdog, and
    known answers (of the model's plan, if there is one) have to come out right; what fails is
    remembered, as in a reply. Raises NoBackend where none is well, ModelError for a model that
    cannot be read, UsageError for an unknown backend.
    """
    asked = "" if backend in (None, "auto") else str(backend)
    path = None if model is None else str(resolve(str(model)).absolute())
    options = WorkerOptions(path, patience=patience, asked=asked, remember=True)
    worse: list[Health] = []
    with _plan(options) as plan, closing(Past(plan.options, Ledger.open())) as past:
        for place in order(backend, None, past)[0]:
            health = _look(place, plan.options, past, probe=past.unproven(place.spec))
            if health.status == "ready" and not place.objection:
                return BestDevice(health.backend, health.device, place.reason, tuple(worse))
            worse.append(health)
    reasons = "; ".join(f"{h.backend}: {h.checks[0].detail}" for h in worse if h.checks)
    raise NoBackend(f"no backend is well here. {reasons}")


class _Plan:
    """Options for a probe; owns the folder of a model that was written for it."""

    def __init__(self, options: WorkerOptions, folder: str | None = None) -> None:
        self.options = options
        self._folder = folder

    def __enter__(self) -> _Plan:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder:
            import shutil

            shutil.rmtree(self._folder, ignore_errors=True)


def _plan(options: WorkerOptions) -> _Plan:
    """Those of the person; without a model, of a small one whose plan has the usual operations."""
    if options.model is not None:
        return _Plan(options)
    from forge.testing.tiny import write_tiny

    folder = tempfile.mkdtemp(prefix="forge-probe-")
    path = write_tiny(Path(folder) / "probe.gguf")
    return _Plan(replace(options, model=str(path)), folder)


def _look(place: Place, options: WorkerOptions, past: Past, *, probe: bool) -> Health:
    """Open one backend, under the watchdog; what fails is remembered."""
    spec, started = place.spec, time.monotonic()
    found = past.quarantine(spec)
    objection = described(found) if found else place.objection if place.risky else ""
    if objection:
        status: Status = "quarantined" if found else "unavailable"
        check = Check("not used", False, objection)
        return Health(spec.name, "", status, (check,), place=place.reason)
    past.mark(spec, "check" if probe else "open")
    runner: Runner | None = None
    answers: tuple[Check, ...] = ()
    try:
        wanted = options if probe else replace(options, model=None)
        runner = Runner(spec, wanted, paces=past.paces(spec), probe=probe)
        if probe:
            for _ in known_answers(runner, past):
                if runner.device is not None:
                    past.opened(spec, runner.device)
            seconds = time.monotonic() - started
            past.proved(spec, seconds)
            told = f"worst error {runner.worst:.2g}"
            answers = (Check("known answers", True, told, seconds=round(seconds, 3)),)
        else:
            runner.opened()
            past.opened(spec, runner.sound)
        device, checks, devices = runner.sound, runner.checks, runner.devices
    except BackendError as error:
        seconds = time.monotonic() - started
        if runner:
            incident = inquire(runner, error, 0)
            stuck = not runner.kill()
            if stuck:
                past.stuck(spec, runner.pid)
            past.failed(spec, error, replace(incident, left_behind=stuck))
        check = Check("open", False, str(error), seconds=round(seconds, 3))
        status = "unavailable" if isinstance(error, BackendUnavailable) else "failed"
        return Health(spec.name, "", status, (check,), place=place.reason)
    finally:
        if runner:
            runner.close()
        past.unmark()
    why = "; ".join(filter(None, (place.reason, place.objection)))
    return Health(spec.name, device.name, "ready", (*checks, *answers), devices, why)
