"""Opens every backend for a moment, to see which of them can work here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from forge.errors import BackendError, BackendUnavailable
from forge.health import Check, Health, Status, not_installed
from forge.plugins import Plugins, missing
from forge.runner import Runner
from forge.spec import BackendSpec
from forge.worker_options import WorkerOptions


def list_backends(
    specs: Sequence[BackendSpec] | None = None, options: WorkerOptions | None = None
) -> Iterator[Health]:
    """The health of each backend (by default of all that are installed), in the order of `auto`.

    Each is opened in a worker of its own, which takes seconds.
    """
    for spec in Plugins().backends() if specs is None else specs:
        if advice := missing(spec):
            yield not_installed(spec.name, advice)
        else:
            yield _open(spec, options or WorkerOptions(None))


def _open(spec: BackendSpec, options: WorkerOptions) -> Health:
    started = time.monotonic()
    runner: Runner | None = None
    try:
        runner = Runner(spec, options)
        opened = runner.opened()
    except BackendError as error:
        seconds = time.monotonic() - started
        found = Check("open", False, str(error), seconds=round(seconds, 3))
        status: Status = "unavailable" if isinstance(error, BackendUnavailable) else "failed"
        return Health(spec.name, "", status, (found,))
    finally:
        if runner:
            runner.close()
    return Health(
        spec.name, opened.device.name, "ready", tuple(opened.checks), tuple(opened.devices)
    )
