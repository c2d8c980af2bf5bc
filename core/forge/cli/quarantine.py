"""`forge quarantine`: which backends are not used of themselves, why, and how to allow them."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from forge.errors import ForgeError, UsageError

if TYPE_CHECKING:
    from forge.state import Ledger, Standing


def add(subparsers: Any) -> None:
    """Add the verb."""
    verb = subparsers.add_parser(
        "quarantine", help="list, lift or impose what is not used after it hung"
    )
    what = verb.add_subparsers(metavar="WHAT", required=True)
    listing = what.add_parser("list", help="what is not used, since when, and whether it holds")
    listing.add_argument("--json", action="store_true", help="a list of objects")
    listing.set_defaults(run=run_list)
    clearing = what.add_parser("clear", help="allow it again")
    clearing.add_argument("which", metavar="all|BACKEND|ID", help="as forge quarantine list says")
    clearing.set_defaults(run=run_clear)
    adding = what.add_parser("add", help="keep a backend from being used until it is cleared")
    adding.add_argument("backend", metavar="BACKEND", help="see forge backends")
    adding.add_argument(
        "--device", default="", metavar="ID", help="only that device; every device by default"
    )
    adding.add_argument("--reason", default="", metavar="TEXT", help="a note for yourself")
    adding.set_defaults(run=run_add)


def run_list(args: argparse.Namespace) -> int:
    """A paragraph an entry, or the same as JSON."""
    with _ledger() as ledger:
        standings = ledger.quarantines()
        _say(ledger.notes)
    if args.json:
        print(json.dumps([_row(standing) for standing in standings]))
    elif not standings:
        print("nothing is in quarantine")
    else:
        print("\n\n".join(_paragraph(standing) for standing in standings))
    return 0


def run_clear(args: argparse.Namespace) -> int:
    """Remove what is named; nothing to remove is well, a name of nothing is not."""
    which: str = args.which
    number = which.removeprefix("#")
    with _ledger() as ledger:
        cleared = ledger.clear(int(number) if number.isdecimal() else which)
        _say(ledger.notes)
    if not cleared and number.isdecimal():
        raise UsageError(f"no quarantine has the number {number}: see forge quarantine list")
    if not cleared and which != "all":
        _backend(which)
    entries = "entry" if cleared == 1 else "entries"
    print(f"{cleared} {entries} cleared" if cleared else "there was nothing to clear")
    return 0


def run_add(args: argparse.Namespace) -> int:
    """Impose one by hand; it holds until it is cleared."""
    from forge.state import Key

    if _backend(args.backend):
        raise UsageError(
            f"{args.backend} is what every other backend falls back to: it has to stay"
        )
    reason = args.reason or "asked for with forge quarantine add"
    with _ledger() as ledger:
        added = ledger.quarantine(Key(args.backend, args.device), reason)
        if added is None or not ledger.kept:
            raise ForgeError("it could not be kept. " + "; ".join(ledger.notes))
        _say(ledger.notes)
    print(f"#{added.id} added; forge quarantine clear {added.id} lifts it")
    return 0


def _ledger() -> Ledger:
    from forge.state import Ledger

    return Ledger.open()


def _backend(name: str) -> bool:
    """Whether an installed backend is the floor; UsageError if there is none of that name."""
    from forge.plugins import Plugins

    return Plugins().backend(name).floor


def _say(notes: tuple[str, ...]) -> None:
    for note in notes:
        print(note, file=sys.stderr)


def _row(standing: Standing) -> dict[str, Any]:
    from forge.doctor.memory import standing_as_json

    entry = standing.quarantine
    more = {"record": entry.record or None, "parts": dict(entry.key.parts)}
    return standing_as_json(standing) | more


def _paragraph(standing: Standing) -> str:
    from forge.store.text import printable  # reasons come from drivers and plugins

    entry = standing.quarantine
    what = "every backend" if entry.every_backend else entry.key.backend
    where = f" on device {entry.key.device}" if entry.key.device else ""
    lines = [f"#{entry.id} {what}{where}: {entry.reason}", f"  since {_date(entry.when)}"]
    if entry.every_backend:
        lines[1] += f", because of {entry.key.backend}"
    if entry.phase:
        lines[1] += f", in phase {entry.phase}"
    if entry.record:
        lines.append(f"  record {entry.record}")
    if standing.holds:
        until = "the machine restarts" if entry.boot else "its driver, kernel or forge changes"
        until = until if entry.boot or any(entry.key.parts.values()) else "you lift it"
        lines.append(f"  holds until {until}; to lift it: forge quarantine clear {entry.id}")
    else:
        lines.append(f"  no longer holds: {', '.join(standing.changed)}")
        lines.append(f"  to forget it: forge quarantine clear {entry.id}")
    return "\n".join(printable(line) for line in lines)


def _date(when: float) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(when))
    except (OverflowError, ValueError, OSError):
        return "an unknown time"
