"""An experiment in words: what is asked before it, a line for each trial, and what follows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from forge.doctor.experiment import Experiment
from forge.doctor.experiment_trial import Outcome
from forge.doctor.text import clean

SCHEMA = 1
_WIDTH = 92
HEADING = f"{'backend':10} {'strategy':26} {'reached':8} {'seconds':>8} {'tokens/s':>9}"


def warning(model: str, trials: Sequence[tuple[str, str]], notes: Sequence[str]) -> Iterator[str]:
    """What will be done and what may happen. trials: of each backend what is to be tried."""
    yield f"This starts {clean(model)} again and again, each time with another setting:"
    for backend, what in trials:
        yield from _folded(f"{backend}: {what}", "    ")
    yield "Each trial has a process of its own, which is killed when it makes no progress; one that"
    yield "hangs takes up to some minutes. A driver may hang all the same: the screen may go black,"
    yield "the machine may freeze and need its power switch. Save your work first."
    for note in notes:
        yield from _folded(f"note: {note}", "")


def row(outcome: Outcome) -> Iterator[str]:
    """A trial's line, and what went wrong in the next ones."""
    rate = f"{outcome.tokens_per_s:.1f}" if outcome.ok and outcome.tokens_per_s else "-"
    reached = outcome.reached if outcome.ok or not outcome.kind else f"{outcome.reached}!"
    yield (
        f"{clean(outcome.backend):10} {clean(outcome.strategy.id):26} {reached:8} "
        f"{outcome.seconds:8.1f} {rate:>9}"
    )
    if outcome.strategy.how != outcome.strategy.id and outcome.strategy.how != "nothing":
        yield from _folded(clean(outcome.strategy.how), "           ")
    if not outcome.ok:
        yield from _folded(clean(f"{outcome.kind}: {outcome.error}"), "           ")


def conclusion(done: Experiment, winners: Sequence[Outcome]) -> Iterator[str]:
    """Why it stopped, what works, and how to have it so."""
    if done.stopped:
        yield from _folded(f"stopped: {clean(done.stopped)}", "")
    if done.untried:
        left = ", ".join(f"{backend} {strategy}" for backend, strategy in done.untried)
        yield from _folded(clean(f"not tried: {left}"), "")
    for outcome in done.outcomes:
        if outcome.ok and outcome.strategy.id == "as it is":
            yield f"{clean(outcome.backend)} works as it is, for as long as this took"
    for winner in winners:
        how = clean(winner.strategy.how)
        yield from _folded(f"{clean(winner.backend)} works with: {how}", "")
        if winner.strategy.device is not None:
            yield f"    forge run -b {clean(winner.backend)} {how}"
        for name in winner.strategy.unset:
            yield f"    take {clean(name)} out of your shell's start-up files"
        if winner.strategy.frugal:
            yield "    no setting has it so for good; ask for a smaller context (-c)"
    if not any(outcome.ok for outcome in done.outcomes) and not done.stopped:
        yield "nothing works here: forge doctor --report FILE.tar.gz writes what developers need"


def as_json(done: Experiment, winners: Sequence[Outcome], kept: Sequence[str]) -> dict[str, Any]:
    """The same for programs. kept: backends whose variables were written down."""
    return {
        "schema": SCHEMA,
        "trials": [_row(outcome) for outcome in done.outcomes],
        "stopped": done.stopped or None,
        "untried": [{"backend": b, "strategy": s} for b, s in done.untried],
        "winners": [{"backend": w.backend, "strategy": w.strategy.id} for w in winners],
        "kept": list(kept),
    }


def _row(outcome: Outcome) -> dict[str, Any]:
    strategy = outcome.strategy
    return {
        "backend": outcome.backend,
        "strategy": strategy.id,
        "env": dict(strategy.env),
        "unset": list(strategy.unset),
        "frugal": strategy.frugal,
        "asked_device": strategy.device,
        "because": strategy.because or None,
        "device": asdict(outcome.device) if outcome.device else None,
        "reached": outcome.reached,
        "ok": outcome.ok,
        "kind": outcome.kind or None,
        "error": outcome.error or None,
        "seconds": outcome.seconds,
        "tokens": outcome.tokens,
        "tokens_per_s": outcome.tokens_per_s,
        "record": outcome.record or None,
    }


def _folded(text: str, indent: str) -> list[str]:
    further = indent + "    "
    return wrap(text, _WIDTH, initial_indent=indent, subsequent_indent=further) or [""]
