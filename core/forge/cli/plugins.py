"""`forge plugins`: what is installed, what it offers, and what is broken."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forge.plugins import Plugins


def add(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser("plugins", help="list the plugins and what is wrong with them")
    verb.add_argument("--json", action="store_true", help="a list of objects")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """One line a plugin."""
    from forge.plugins import Plugins

    plugins = Plugins()
    _try_verbs(plugins)
    if args.json:
        rows = [
            {
                "name": p.name,
                "distribution": p.distribution,
                "version": p.version,
                "backends": [spec.name for spec in p.backends],
                "problem": p.problem or None,
            }
            for p in plugins.plugins
        ]
        print(json.dumps(rows))
    for p in () if args.json else plugins.plugins:
        offers = ", ".join(spec.name for spec in p.backends)
        state = f"broken: {p.problem}" if p.problem else f"backends: {offers}" if offers else "ok"
        print(f"{p.name:12} {p.distribution} {p.version:10} {state}")
    if limits := plugins.limits():
        print(limits, file=sys.stderr)
    return 0


def _try_verbs(plugins: Plugins) -> None:
    """Add the plugins' verbs beside forge's own, to see which of them fail."""
    from forge.cli import VERBS

    subparsers = argparse.ArgumentParser().add_subparsers()
    for verb in VERBS:
        subparsers.add_parser(verb)
    plugins.add_commands(subparsers)
