"""Opens every backend for a moment, to see which of them can work here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from forge.errors import BackendError
from forge.health import Check, Health
from forge.plugins import missing
from forge.runner import Runner, WorkerOptions
from forge.spec import BackendSpec


def survey(specs: Sequence[BackendSpec], options: WorkerOptions | None = None) -> Iterator[Health]:
    """The health of each backend, in order; each is opened in a worker of its own."""
    for spec in specs:
        if advice := missing(spec):
            what, _, how = advice.partition(": ")
            yield Health(spec.name, "", "unavailable", (Check("installed", False, what, how),))
        else:
            yield _open(spec, options or WorkerOptions(None))


def _open(spec: BackendSpec, options: WorkerOptions) -> Health:
    started = time.monotonic()
    runner: Runner | None = None
    try:
        runner = Runner(spec, options)
        device, checks = runner.opened()
    except BackendError as error:
        seconds = time.monotonic() - started
        found = Check("open", False, str(error), seconds=round(seconds, 3))
        return Health(spec.name, "", "unavailable", (found,))
    finally:
        if runner:
            runner.close()
    return Health(spec.name, device, "ready", tuple(checks))
