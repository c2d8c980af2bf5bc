"""`forge backends`: opens each backend in a worker of its own and says what answered."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from forge.cli.options import add_model, find_model

if TYPE_CHECKING:
    from forge.plugins import Plugin


def add(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser("backends", help="list the backends, in the order they are tried")
    add_model(verb)
    verb.add_argument(
        "--probe",
        action="store_true",
        help="have each compute known answers: of the model's plan, or of a small one",
    )
    verb.add_argument("--json", action="store_true", help="a list of objects")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """One line a backend; broken plugins after them."""
    from forge.plugins import Plugins
    from forge.survey import list_backends
    from forge.worker_options import WorkerOptions

    plugins = Plugins()
    model = None if args.model is None else str(find_model(args.model).absolute())
    options = WorkerOptions(model)
    found = list(list_backends(options=options, probe=args.probe or model is not None))
    if args.json:
        print(json.dumps([asdict(health) for health in found]))
        for plugin in plugins.broken():
            print(_broken(plugin), file=sys.stderr)
        return 0
    for health in found:
        print(f"{health.backend:12} {health.status:12} {health.device}")
        if health.place:
            print(f"{'':12} place: {health.place}")
        for check in health.checks:
            mark = "ok" if check.ok else "--"
            advice = f" -> {check.advice}" if check.advice else ""
            print(f"{'':12} {mark} {check.name}: {check.detail}{advice}")
        if len(health.devices) > 1:
            for device in health.devices:
                print(f"{'':12} device {device.id}: {device.name} ({device.kind})")
    for plugin in plugins.broken():
        print(_broken(plugin))
    return 0


def _broken(plugin: Plugin) -> str:
    return f"{plugin.name:12} {'broken':12} plugin of {plugin.distribution}: {plugin.problem}"
