"""`forge models`: the models on this machine, whoever fetched them."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def add(subparsers: Subparsers) -> None:
    """Add the verb."""
    parser = subparsers.add_parser("models", help="list the models on this machine")
    parser.add_argument("--json", action="store_true", help="print one JSON list")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print a table of name, size, source and path, or the same as JSON."""
    from forge.store import DEFAULT_MODEL, installed  # `forge --help` imports this

    models = installed()
    if args.json:
        print(
            json.dumps(
                [
                    {"name": m.name, "path": str(m.path), "bytes": m.bytes, "source": m.source}
                    for m in models
                ]
            )
        )
        return 0
    if not models:
        print(f"no models here yet; `forge pull {DEFAULT_MODEL.name}` fetches a small one")
        return 0
    from forge.store.text import printable, size  # see above

    rows = [("NAME", "SIZE", "SOURCE", "PATH")]
    rows += [(printable(m.name), size(m.bytes), m.source, printable(m.path)) for m in models]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for name, bytes_, source, path in rows:
        print(f"{name:<{widths[0]}}  {bytes_:>{widths[1]}}  {source:<{widths[2]}}  {path}")
    return 0
