"""`forge doctor`: what is wrong with this machine's GPUs, and what to do about it."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forge.cli.doctor_experiment import add_options, refuse_strays, run_experiment
from forge.errors import UsageError

if TYPE_CHECKING:
    from forge.doctor import Examination


def add(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser("doctor", help="find out why a GPU hangs, and what to change")
    verb.add_argument("--json", action="store_true", help="one object: docs/hangs.md describes it")
    verb.add_argument(
        "--report", metavar="FILE.tar.gz", type=Path, help="write what a driver's developers need"
    )
    verb.add_argument("--force", action="store_true", help="overwrite the report's file")
    verb.add_argument(
        "--explain", metavar="RULE", help="a rule, a log signature, or why a remedy is none"
    )
    verb.add_argument(
        "-m", "--model", metavar="FILE", type=Path, help="a model that is to fit, or to be tried"
    )
    verb.add_argument("-v", "--verbose", action="store_true", help="name what is ruled out as well")
    add_options(verb)
    verb.add_argument("--root", type=Path, default=Path("/"), help=argparse.SUPPRESS)
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """The exit code is 0 whatever is found."""
    from forge.doctor import examine, knowledge
    from forge.doctor.hangs import state_folder

    if args.force and not args.report:
        raise UsageError("--force goes with --report")
    if args.explain is not None and (args.json or args.report):
        raise UsageError("--explain goes without --json and --report")
    if not args.root.is_dir():
        raise UsageError(f"--root {args.root}: there is no such folder")
    refuse_strays(args)
    if args.experiment:
        return run_experiment(args)
    size = _size(args.model)
    found = examine(args.root, state=state_folder(), model_bytes=size)
    if args.explain is not None:
        from forge.doctor.explain import explain
        from forge.doctor.text import clean

        print("\n".join(map(clean, explain(args.explain, knowledge(), found))).rstrip())
        return 0
    _show(args, found)
    return 0


def _show(args: argparse.Namespace, found: Examination) -> None:
    from forge._version import __version__
    from forge.doctor import knowledge
    from forge.doctor.archive import write_report
    from forge.doctor.as_json import as_json
    from forge.doctor.hangs import state_folder
    from forge.doctor.memory import in_words, remembered, standing_as_json
    from forge.doctor.text import clean, report

    backends = _backends()
    names = [name for name, _ in backends]
    memory = remembered(state_folder().absolute(), names, found, args.root)
    if args.report:
        write_report(
            *(args.report, found, backends, os.environ, args.root),
            force=args.force,
            memory=memory,
        )
    if args.json:
        installed = [{"name": name, "missing": missing or None} for name, missing in backends]
        known = {
            "quarantines": [standing_as_json(standing) for standing in memory.standings],
            "notes": list(memory.notes),
        }
        print(json.dumps({"forge": __version__, **as_json(found), **known, "backends": installed}))
        return
    for line in report(found, knowledge(), backends, verbose=args.verbose):
        print(line)
    for line in in_words(memory):
        print(clean(line))
    if args.report:
        print(f"the report is in {clean(str(args.report))}: look through it before you send it")


def _backends() -> list[tuple[str, str]]:
    """Each backend that a plugin offers, and what is missing for it."""
    from forge.plugins import Plugins, missing

    return [(spec.name, missing(spec)) for spec in Plugins().backends()]


def _size(model: Path | None) -> int | None:
    if model is None:
        return None
    try:
        return model.stat().st_size
    except OSError as error:
        raise UsageError(f"-m {model}: {error.strerror}; give a file's path") from None
