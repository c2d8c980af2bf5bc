"""`forge warmup`: compile ahead what a first reply would wait for."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from forge.cli.options import add_model, find_model

if TYPE_CHECKING:
    from pathlib import Path

    from forge.spec import BackendSpec
    from forge.warmup import Warmth


def add(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser("warmup", help="compile ahead what a first reply would wait for")
    add_model(verb)
    verb.add_argument("--all", action="store_true", help="for any model rather than one")
    verb.add_argument(
        "-b", "--backend", default="auto", metavar="NAME", help="one backend; all by default"
    )
    verb.add_argument("--kv-type", metavar="TYPE", help="of the KV cache, as in forge run")
    verb.add_argument("--json", action="store_true", help="a list of objects")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Every backend that can run here: a reply may end up on any of them."""
    from forge.errors import BackendError, UsageError
    from forge.plugins import Plugins, missing
    from forge.worker_options import WorkerOptions

    if args.all and args.model:
        raise UsageError("--all is for any model: leave -m out")
    plugins = Plugins()
    options = WorkerOptions(None, kv_type=args.kv_type)
    if args.backend == "auto":
        chosen = [spec for spec in plugins.backends() if not missing(spec)]
    else:
        chosen = [plugins.backend(args.backend)]
    model = None if args.all else find_model(args.model)
    found, failed = [], 0
    for spec in chosen:
        try:
            warmth = _warm(spec, model, options)
        except BackendError as error:
            failed += 1
            print(f"forge: {spec.name}: {error}", file=sys.stderr)
            continue
        found.append(asdict(warmth))
        if not args.json:
            _tell(warmth)
    if args.json:
        print(json.dumps(found))
    return 1 if failed == len(chosen) else 0


def _warm(spec: BackendSpec, model: Path | None, options: Any) -> Warmth:
    from forge.cli.screen import Screen
    from forge.warmup import warm_up

    screen = Screen()
    events = warm_up(spec, model, options)
    try:
        while True:
            screen.progress(next(events))
    except StopIteration as end:
        warmth: Warmth = end.value
        return warmth
    finally:
        screen.status("")


def _tell(warmth: Warmth) -> None:
    if not warmth.folder:
        what = "nothing to compile"
    elif warmth.pieces:
        what = f"{warmth.pieces} kernels compiled in {warmth.seconds:.1f} s"
    else:
        what = "all was compiled before"
    print(f"{warmth.backend:12} {what}" + (f"; kept in {warmth.folder}" if warmth.folder else ""))
    for check in warmth.checks:
        if not check.ok:
            advice = f" -> {check.advice}" if check.advice else ""
            print(f"{'':12} -- {check.name}: {check.detail}{advice}")
