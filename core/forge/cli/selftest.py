"""`forge selftest`: known answers of every op and weight type on one backend, and a short soak."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge.cli.options import add_backend, add_model, find_model
from forge.errors import UsageError

if TYPE_CHECKING:
    from forge.selftest import Report
    from forge.spec import BackendSpec

_LONGEST_S = 86400


def add(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser(
        "selftest", help="does a backend compute rightly on this device, and keep doing so?"
    )
    add_model(verb)
    verb.add_argument(
        "--seconds", type=float, default=20.0, metavar="S", help="of the soak; 0 is none; 20"
    )
    verb.add_argument(
        "--types", metavar="T,…", help="weight types to ask for; all by default (q4_k,q8_0,…)"
    )
    verb.add_argument("--report", metavar="FILE", help="write all of it as JSON, to be sent")
    verb.add_argument("--force", action="store_true", help="write over FILE")
    verb.add_argument("--json", action="store_true", help="one object")
    add_backend(verb)
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """0 where all was right, 1 where something was not, 3 where the backend cannot run."""
    if not 0 <= args.seconds <= _LONGEST_S:
        raise UsageError(f"--seconds {args.seconds:g}: give 0 to {_LONGEST_S}")
    if args.report and Path(args.report).exists() and not args.force:
        raise UsageError(f"{args.report} is there already: --force writes over it")
    from forge.selftest.report import write

    spec = _chosen(args.backend)
    report = _test(args, spec)
    if args.report:
        write(report, Path(args.report), force=args.force)
    if args.json:
        print(json.dumps(report.as_json()))
    else:
        for line in report.lines():
            print(line)
        if args.report:
            print(f"the report is in {args.report}: look through it before you send it")
    return 0 if report.ok else 1


def _chosen(name: str) -> BackendSpec:
    from forge.config import read_config
    from forge.errors import BackendUnavailable
    from forge.plugins import Plugins, missing

    if name == "auto":
        raise UsageError("name the backend to test: -b NAME; see forge backends")
    spec = Plugins().backend(name)
    if advice := missing(spec):
        raise BackendUnavailable(f"{name}: {advice}")
    return read_config().applied(spec)


def _test(args: argparse.Namespace, spec: BackendSpec) -> Report:
    from forge.cli.screen import Screen
    from forge.selftest import self_test
    from forge.worker_options import WorkerOptions

    options = WorkerOptions(
        *(None, args.context, args.device, args.threads, args.patience, spec.name, args.kv_type)
    )
    types = None if args.types is None else [t for t in args.types.split(",") if t]
    model = find_model(args.model).absolute() if args.seconds else None
    screen = Screen()
    screen.status(f"{spec.name}: known answers")
    running = self_test(
        spec, options, model, types=types, seconds=args.seconds, progress=screen.status
    )
    try:
        while True:
            answer = next(running)
            screen.status(f"{spec.name}: {answer.name} {'ok' if answer.ok else 'FAILED'}")
    except StopIteration as end:
        report: Report = end.value
        return report
    finally:
        screen.status("")
