"""What forge's ledger says: what is not used here and why, the paces learned, and its own state."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from forge._version import __version__
from forge.budgets import MARGIN, SECONDS
from forge.doctor.examination import Examination
from forge.paces import Paces
from forge.state import Ledger, Standing, environment
from forge.state.file import NAME


@dataclass(frozen=True, slots=True)
class PaceRow:
    """How long pieces of a phase take on a device ("" before one is open).

    work: the binary logarithm of a piece's bytes, or 0. p99_s: seconds that 99 of 100 stay under;
    budget_s: what a worker gets for the next one, with a patience of 1.
    """

    backend: str
    device: str
    phase: str
    work: int
    p99_s: float
    budget_s: float


@dataclass(frozen=True, slots=True)
class Memory:
    """notes: what is wrong with the ledger's file. standings: quarantines, held or lapsed."""

    notes: tuple[str, ...] = ()
    standings: tuple[Standing, ...] = ()
    paces: tuple[PaceRow, ...] = ()


def remembered(folder: Path, backends: Sequence[str], found: Examination, root: Path) -> Memory:
    """What the ledger in that folder knows; nothing where there is none. Makes no file.

    Where the driver's files did not answer the examination they are not asked once more.
    """
    if not os.path.lexists(folder / NAME):
        return Memory()
    if found.complete and not found.facts.hung:
        present = environment(root)
    else:
        present = {"kernel": found.facts.shown.get("kernel release", ""), "forge": __version__}
    with Ledger.open(folder) as ledger:
        standings = tuple(ledger.quarantines(present))
        paces = tuple(row for name in backends for row in _paces(ledger, name))
        return Memory(ledger.notes, standings, paces)


def _paces(ledger: Ledger, backend: str) -> Iterator[PaceRow]:
    """Of the worker's start, and of the device that the backend opens of itself."""
    device = ledger.last_opened(backend, "")
    for key in dict.fromkeys(["", device.key if device else ""]):
        known: Mapping[tuple[str, int], Sequence[float]] = ledger.paces(key, backend)
        paces = Paces(known)
        for phase, work in sorted(known):
            p99 = paces.p99(phase, 2.0**work)
            if p99 is not None:
                budget = max(SECONDS.get(phase, SECONDS["compile"]), MARGIN * p99)
                yield PaceRow(backend, key, phase, work, round(p99, 6), round(budget, 3))


def standing_as_json(standing: Standing) -> dict[str, Any]:
    """One quarantine for programs."""
    entry = standing.quarantine
    return {
        "id": entry.id,
        "backend": entry.key.backend,
        "device": entry.key.device or None,
        "every_backend": entry.every_backend,
        "until_reboot": bool(entry.boot),
        "reason": entry.reason,
        "phase": entry.phase or None,
        "when": entry.when,
        "holds": standing.holds,
        "changed": list(standing.changed),
    }


def in_words(memory: Memory) -> Iterator[str]:
    """The lines for a terminal, not yet cleaned."""
    for note in memory.notes:
        yield f"memory: {note}"
    held = [standing.quarantine for standing in memory.standings if standing.holds]
    alike: dict[str, list[int]] = {}
    for entry in held:
        what = "every backend" if entry.every_backend else entry.key.backend
        where = f" on {entry.key.device}" if entry.key.device else ""
        until = " until reboot" if entry.boot else ""
        alike.setdefault(f"{what}{where}{until}: {entry.reason}", []).append(entry.id)
    for text, ids in alike.items():
        settings = f" with {len(ids)} settings" if len(ids) > 1 else ""
        yield f"not used{settings}: {text}"
        yield from (f"    forge quarantine clear {number}   tries it again" for number in ids[:5])
    if lapsed := len(memory.standings) - len(held):
        yield f"    {lapsed} older {'entry' if lapsed == 1 else 'entries'} no longer hold"
