"""The whole test of one backend: what is asked, in which order, and what is remembered of it."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from forge.engine import Engine
from forge.errors import BackendError, BackendUnavailable, ForgeError
from forge.past import Past, described
from forge.plugins import Plugins
from forge.selftest.answers import Answer, Asker, known_answers
from forge.selftest.plan import plan
from forge.selftest.report import Report
from forge.selftest.soak import Soak, score, soak
from forge.spec import BackendSpec
from forge.state import Ledger
from forge.worker_options import WorkerOptions

SECONDS = 20.0
"""Of a soak."""


def self_test(
    spec: BackendSpec,
    options: WorkerOptions,
    model: Path | None,
    *,
    types: Sequence[str] | None = None,
    seconds: float = SECONDS,
    progress: Callable[[str], None] = lambda _: None,
) -> Generator[Answer, None, Report]:
    """Known answers of every op and weight type, then replies from `model`, if there is one.

    Yields each answer. Everything runs in workers under the watchdog; the outcome is kept, so that
    a backend that passed is trusted on this device from now on. BackendUnavailable where it cannot
    be opened, or is in quarantine; any other failure is in the report.
    """
    models, started = plan(types), time.monotonic()
    options = replace(options, model=None, asked=spec.name, remember=True)
    folder = Path(tempfile.mkdtemp(prefix="forge-selftest-"))
    answers: list[Answer] = []
    soaked: Soak | None = None
    stopped = ""
    with closing(Past(options, Ledger.open())) as past:
        if found := past.quarantine(spec):
            raise BackendUnavailable(f"{spec.name} is {described(found)}")
        asker = Asker(spec, options, past)
        try:
            for answer in known_answers(asker, models, folder):
                answers.append(answer)
                yield answer
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    if len(answers) < len(models):
        stopped = "the device is not asked anything more"
    elif model is not None and all(answer.ok for answer in answers):
        try:
            soaked = _soaked(spec, options, model, seconds, progress)
        except BackendError as error:
            stopped = str(error)
    report = Report(
        *(spec.name, asker.device, tuple(answers), soaked, asker.checks),
        seconds=round(time.monotonic() - started, 3),
        stopped=stopped,
    )
    # What it would be trusted for needs all of it.
    whole = soaked is not None and types is None
    if whole or not report.ok:
        remember(spec, options, report)
    return report


def remember(spec: BackendSpec, options: WorkerOptions, report: Report) -> None:
    """Keep the outcome, for the device that the backend opened last."""
    wrong = [answer.name for answer in report.answers if not answer.ok]
    detail = ", ".join(wrong) or report.stopped or ("" if report.ok else "the soak")
    with closing(Past(options, Ledger.open())) as past:
        past.tested(spec, report.ok, detail, report.seconds)


def _soaked(
    spec: BackendSpec,
    options: WorkerOptions,
    model: Path,
    seconds: float,
    progress: Callable[[str], None],
) -> Soak:
    with _engine(spec, options, model) as engine:
        for _ in engine.load():
            progress(f"{spec.name}: loading {model.name}")
        found = soak(engine, seconds, progress)
        if not found.ok:
            return found
        try:
            value = score(engine)
        except BackendError as error:
            return replace(found, detail=str(error))
    floor = next((one for one in Plugins().backends() if one.floor), None)
    if floor is None or spec.floor:
        return replace(found, perplexity=value)
    progress(f"{floor.name}: scoring the same text")
    try:
        with _engine(floor, options, model) as engine:
            for _ in engine.load():
                pass
            return replace(found, perplexity=value, floor_perplexity=score(engine))
    except ForgeError as error:  # the floor's failure is not the backend's
        progress(str(error))
        return replace(found, perplexity=value)


def _engine(spec: BackendSpec, options: WorkerOptions, model: Path) -> Engine:
    choices: dict[str, Any] = {
        "backend": spec,
        "threads": options.threads,
        "context": options.context,
        "patience": options.patience,
        "kv_type": options.kv_type,
    }
    if spec.name == options.asked:
        choices["device"] = options.device
    return Engine(model, **choices, strict=True)
