"""`forge plugins`: what is installed, what it offers, and what is broken."""

from __future__ import annotations

import argparse
import json
from typing import Any


def add(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser("plugins", help="list the plugins and what is wrong with them")
    verb.add_argument("--json", action="store_true", help="a list of objects")
    verb.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """One line a plugin."""
    from forge.plugins import Plugins

    found = Plugins().plugins
    if args.json:
        rows = [
            {
                "name": p.name,
                "distribution": p.distribution,
                "version": p.version,
                "backends": [spec.name for spec in p.backends],
                "problem": p.problem or None,
            }
            for p in found
        ]
        print(json.dumps(rows))
        return 0
    for p in found:
        offers = ", ".join(spec.name for spec in p.backends)
        state = f"broken: {p.problem}" if p.problem else f"backends: {offers}" if offers else "ok"
        print(f"{p.name:12} {p.distribution} {p.version:10} {state}")
    return 0
