"""Known answers of a plan's models, asked of one backend in a worker that can be killed."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from forge.errors import BackendError, BackendHung, BackendLost
from forge.health import Check, Device
from forge.inquiry import inquire
from forge.past import Past
from forge.runner import Runner
from forge.selftest.plan import Small
from forge.spec import BackendSpec
from forge.worker_options import WorkerOptions

_FATAL = (BackendHung, BackendLost)
"""After these nothing more is asked of the device: repeated tries have taken machines down."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one model: whether all of its known answers were right, and the worst error.

    `error` is a normalised mean square, 0 where there was none; `cases` are those that were
    finished, `detail` says what went wrong.
    """

    name: str
    ok: bool
    error: float = 0.0
    cases: tuple[str, ...] = ()
    seconds: float = 0.0
    detail: str = ""


class Asker:
    """Owns the worker that is asked, a fresh one after each failure.

    `device` and `checks` are the backend's, once it is open.
    """

    def __init__(self, spec: BackendSpec, options: WorkerOptions, past: Past) -> None:
        self._spec, self._options, self._past = spec, options, past
        self._runner: Runner | None = None
        self.device: Device | None = None
        self.checks: tuple[Check, ...] = ()

    def ask(self, small: Small, path: Path) -> Answer:
        """All known answers of one model. Raises BackendHung and BackendLost, after noting them."""
        started, cases = time.monotonic(), list[str]()
        self._past.mark(self._spec, "check")
        try:
            runner = self._runner_for(str(path))
            for event in runner.known_answers(lambda: False):
                self._note(runner)
                if event.phase == "check" and event.detail not in cases:
                    cases.append(event.detail)
            seconds = round(time.monotonic() - started, 3)
            return Answer(small.name, True, runner.worst, tuple(cases), seconds)
        except BackendError as error:
            self._failed(error)
            if isinstance(error, _FATAL) or self.device is None:
                raise
            seconds = round(time.monotonic() - started, 3)
            return Answer(small.name, False, 0.0, tuple(cases), seconds, str(error))
        finally:
            self._past.unmark()

    def close(self) -> None:
        """End the worker."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()

    def _runner_for(self, model: str) -> Runner:
        if self._runner is None:
            options = replace(self._options, model=model)
            self._runner = Runner(
                self._spec, options, paces=self._past.paces(self._spec), probe=True
            )
        else:
            self._runner.ask(model)
        return self._runner

    def _note(self, runner: Runner) -> None:
        if self.device is None and runner.device is not None:
            self.device, self.checks = runner.device, runner.checks
            self._past.opened(self._spec, runner.device)

    def _failed(self, error: BackendError) -> None:
        """Keep what is known of it, and the device from being used meanwhile."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        incident = inquire(runner, error, 0)
        stuck = not runner.kill()
        if stuck:
            self._past.stuck(self._spec, runner.pid)
        self._past.failed(self._spec, error, replace(incident, left_behind=stuck))


def known_answers(asker: Asker, models: Sequence[Small], folder: Path) -> Iterator[Answer]:
    """Each model's answer; one that hangs or is lost is the last."""
    with closing(asker):
        for small in models:
            path = small.write(folder)
            try:
                yield asker.ask(small, path)
            except _FATAL as error:
                yield Answer(small.name, False, detail=str(error))
                return
            finally:
                path.unlink(missing_ok=True)
