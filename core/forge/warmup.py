"""What backends would compile before a first reply, compiled ahead of it."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from forge.events import Loading
from forge.health import Check
from forge.runner import Runner
from forge.spec import BackendSpec
from forge.worker_options import WorkerOptions


@dataclass(frozen=True, slots=True)
class Warmth:
    """What a backend did: pieces that were missing, seconds, and the folder where it keeps them.

    Without a folder it had nothing to prepare; `checks` are what it says of itself.
    """

    backend: str
    pieces: int
    seconds: float
    folder: str
    checks: tuple[Check, ...] = ()


def warm_up(
    spec: BackendSpec, model: Path | None, options: WorkerOptions
) -> Generator[Loading, None, Warmth]:
    """Have a backend prepare for a model, or for any, in a worker of its own.

    BackendError when it fails. The model's weights are not loaded.
    """
    runner = Runner(spec, options)
    try:
        runner.opened()
        checks = runner.checks
        started, pieces = time.monotonic(), 0
        pending = runner.warm(model, options.kv_type)
        while True:
            try:
                event = next(pending)
            except StopIteration as end:
                seconds = round(time.monotonic() - started, 3)
                return Warmth(spec.name, pieces, seconds, end.value, checks)
            pieces += event.done > 0
            yield event
    finally:
        runner.close()
