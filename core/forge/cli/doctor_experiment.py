"""`forge doctor --experiment`: asks first, shows a table as it grows, offers to keep what works."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from forge.errors import ForgeError, UsageError

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from forge.doctor.experiment import Circumstances, Experiment
    from forge.doctor.experiment_trial import Outcome
    from forge.place import Place
    from forge.worker_options import WorkerOptions

_ALONE = ("yes", "keep", "env", "only", "backend", "max_tokens", "patience")
"""What goes with --experiment only."""


def add_options(verb: argparse.ArgumentParser) -> None:
    """Those of an experiment; None where they were not given."""
    group = verb.add_argument_group("experiments: what helps here, tried out")
    group.add_argument(
        "--experiment", action="store_true", help="try settings one by one; asks first"
    )
    group.add_argument("-y", "--yes", action="store_true", default=None, help="do not ask")
    group.add_argument(
        "--keep", action="store_true", default=None, help="write what works into the configuration"
    )
    group.add_argument("-b", "--backend", metavar="NAME", help="all that have a device, by default")
    group.add_argument(
        *("--env", "-e"),
        action="append",
        metavar="NAME=VALUE",
        help="try this as well; NAME= to have it unset",
    )
    group.add_argument("--only", action="append", metavar="ID", help="of the strategies only this")
    group.add_argument("-n", "--max-tokens", type=int, metavar="N", help="tokens of a trial; 32")
    group.add_argument("--patience", type=float, metavar="X", help="wait X times as long")


def refuse_strays(args: argparse.Namespace) -> None:
    """UsageError for options that mean something else, or nothing."""
    given = [name for name in _ALONE if getattr(args, name) is not None]
    if given and not args.experiment:
        raise UsageError(f"--{given[0].replace('_', '-')} goes with --experiment")
    if args.experiment and (args.report or args.explain is not None or args.verbose):
        raise UsageError("--experiment goes without --report, --explain and --verbose")
    if args.max_tokens is not None and args.max_tokens < 1:
        raise UsageError(f"--max-tokens {args.max_tokens}: ask for at least 1")


def run_experiment(args: argparse.Namespace) -> int:
    """0 when it came to an end, whatever it found; 1 if it was not allowed to; 130 for Ctrl-C."""
    from forge.doctor.experiment import Experiment
    from forge.doctor.text import clean
    from forge.order import order
    from forge.past import Past
    from forge.state import Ledger
    from forge.worker_options import WorkerOptions

    if not args.yes and not sys.stdin.isatty():
        raise UsageError("--experiment may freeze the machine: say --yes where nobody can be asked")
    asked = "" if args.backend in (None, "auto") else args.backend
    patience = 1.0 if args.patience is None else args.patience
    unset = WorkerOptions(None, asked=asked, patience=patience, remember=True)
    here = _circumstances(args, asked)
    with closing(Past(unset, Ledger.open())) as past:
        places, _ = order(asked or None, None, past)
        notes = _notes(places, past)
    if not _allowed(args, places, here, unset, notes):
        print("nothing was tried", file=sys.stderr)
        return 1
    model, options = _model(args, unset)
    done = Experiment()
    with _interrupts() as interrupted:
        if not args.json:
            print(f"model {clean(model.name)}")
        _follow(done.run(places, options, here, args.max_tokens or 32, interrupted), args)
    return _conclude(args, done, interrupted())


def _circumstances(args: argparse.Namespace, asked: str) -> Circumstances:
    from forge.doctor import examine
    from forge.doctor.experiment import Circumstances
    from forge.doctor.experiment_plan import own_strategy, strategies
    from forge.doctor.hangs import state_folder

    own = []
    for text in args.env or ():
        strategy = own_strategy(text)
        if strategy is None:
            raise UsageError(f"--env {text!r:.60}: write it as NAME=VALUE, or NAME= to unset it")
        own.append(strategy)
    found = examine(args.root, state=state_folder())
    if found.facts.hung:
        raise ForgeError(
            f"reading /{found.facts.hung[0]} hangs: the driver does not answer, and nothing can be "
            "tried before a reboot"
        )
    rules = {finding.rule.id for finding in found.findings}
    names = {s.id for s in (*strategies(), *own)} | rules
    for only in args.only or ():
        if only not in names and not only.startswith(("device-", "only-gpu-")):
            raise UsageError(f"--only {only!r:.60}: there is {', '.join(sorted(names))}")
    gpus = found.facts.value("amd_gpus")
    return Circumstances(
        *(found.findings, gpus if type(gpus) is int else 0, tuple(own), asked),
        only=tuple(args.only or ()),
    )


def _notes(places: Sequence[Place], past: Any) -> list[str]:
    """What is known against the backends: an experiment goes ahead all the same."""
    from forge.past import described

    notes = []
    for place in places:
        if found := past.quarantine(place.spec):
            what = "left alone" if found.every_backend else "tried all the same"
            notes.append(f"{place.spec.name} is {described(found)}; it is {what}")
        if place.objection:
            notes.append(f"{place.spec.name}: {place.objection}; it is tried all the same")
    return notes


def _allowed(
    args: argparse.Namespace,
    places: Sequence[Place],
    here: Circumstances,
    options: WorkerOptions,
    notes: Sequence[str],
) -> bool:
    from forge.doctor.experiment_text import warning
    from forge.doctor.text import clean

    trials = []
    for place in places:
        more = [
            s.id + (f" ({s.because})" if s.because else "")
            for s in here.strategies(place.spec, options)
        ]
        trials.append((place.spec.name, ", ".join(["as it is", *more])))
    model = "the default model" if args.model is None else str(args.model)
    for line in warning(model, trials, [clean(note) for note in notes]):
        print(line, file=sys.stderr)
    return bool(args.yes) or _answer("Go on?")


def _answer(question: str) -> bool:
    """Of the person at the terminal; anything but a yes is a no."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _model(args: argparse.Namespace, options: WorkerOptions) -> tuple[Path, WorkerOptions]:
    from dataclasses import replace

    from forge.cli.options import find_model
    from forge.gguf import open_gguf

    path = find_model(None if args.model is None else str(args.model)).absolute()
    with open_gguf(path) as file:
        weights = sum(tensor.nbytes for tensor in file.tensors.values())
    return path, replace(options, model=str(path), weights=weights)


def _follow(steps: Iterator[Any], args: argparse.Namespace) -> None:
    from forge.cli.screen import Screen
    from forge.doctor.experiment import Asked, Began
    from forge.doctor.experiment_text import HEADING, row
    from forge.doctor.text import clean

    screen = Screen(json=args.json)
    if not args.json:
        print(HEADING, flush=True)
    try:
        for step in steps:
            screen.status("")
            match step:
                case Began():
                    screen.status(clean(f"{step.backend}: {step.strategy.id} ..."))
                case Asked(answer=None):
                    screen.note("nothing has worked on that device yet, so it cannot be asked")
                case Asked(answer=""):
                    screen.note("known answers still come out right on that device")
                case Asked():
                    pass  # the conclusion says it
                case _ if not args.json:
                    # Each line at once: the machine may not live to see the end of the table.
                    print("\n".join(row(step)), flush=True)
    finally:
        screen.status("")


def _conclude(args: argparse.Namespace, done: Experiment, interrupted: bool) -> int:
    from forge.doctor.experiment_text import as_json, conclusion

    winners = done.winners()
    if not args.json:
        print("\n".join(["", *conclusion(done, winners)]), flush=True)
    kept = [] if interrupted else [w.backend for w in winners if w.strategy.env and _keep(args, w)]
    if args.json:
        print(json.dumps(as_json(done, winners, kept)))
    return 130 if interrupted else 0


def _keep(args: argparse.Namespace, winner: Outcome) -> bool:
    """Write a winner's variables down, if the person says so."""
    from forge.config import config_path, set_env
    from forge.doctor.text import clean
    from forge.errors import OutputError

    how = clean(f"{winner.strategy.how} for {winner.backend} in {config_path()}")
    if not args.keep and (args.json or not sys.stdin.isatty() or not _answer(f"Keep {how}?")):
        return False
    try:
        path = set_env(winner.backend, winner.strategy.env)
    except OSError as error:
        raise OutputError(f"{config_path()}: it cannot be written: {error.strerror}") from None
    print(f"forge: kept in {path}", file=sys.stderr)
    return True


@contextmanager
def _interrupts() -> Iterator[Any]:
    """The first Ctrl-C ends the trial and the experiment, a second one the program."""
    seen = False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal seen
        if seen:
            raise KeyboardInterrupt
        seen = True

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield lambda: seen
    finally:
        signal.signal(signal.SIGINT, before)
