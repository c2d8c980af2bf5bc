"""Before a worker is killed: what it was doing, as far as anybody can tell from outside."""

from __future__ import annotations

import time

from forge.errors import BackendError, BackendHung
from forge.incident import Incident
from forge.process import Testimony
from forge.runner import Runner


def inquire(runner: Runner, error: BackendError, tokens: int) -> Incident:
    """What is known of a failure; a worker that is only silent is asked where it is."""
    device = runner.device
    hung = isinstance(error, BackendHung)
    found = runner.testimony() if hung else Testimony(log=runner.log_tail())
    return Incident(
        backend=runner.spec.name,
        device=device.name if device else "",
        driver=device.driver if device else "",
        kind=type(error).__name__,
        reason=str(error),
        phase=runner.phase,
        piece=runner.last_piece(),
        age_s=round(runner.silent_s, 3),
        budget_s=round(runner.budget_s, 3),
        tokens=tokens,
        ran_s=round(time.monotonic() - runner.started, 3),
        pid=runner.pid,
        struck=runner.struck or _stopped(found.threads),
        threads=found.threads,
        stack=found.stack,
        log=found.log,
        address=device.address if device else "",
        prompt_tokens=runner.pace.prefilled,
    )


def _stopped(threads: tuple[str, ...]) -> bool:
    """Whether somebody stopped it, by a signal or with a debugger: no driver does."""
    return bool(threads) and all(state[:1] in ("T", "t") for state in threads)
