"""What is known to be wrong here, for a front end: the doctor's findings, and the quarantines."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from forge.doctor import Finding
    from forge.state import Standing


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """findings: certain and severe ones first. quarantines: the oldest first, lapsed ones too.

    notes: what a person should know of how it was found. complete: False where not everything
    answered in time.
    """

    findings: tuple[Finding, ...] = ()
    quarantines: tuple[Standing, ...] = ()
    notes: tuple[str, ...] = ()
    complete: bool = True


def diagnose(root: Path = Path("/"), *, seconds: float = 4.0) -> Diagnosis:
    """Look at the machine and at what is remembered of it; takes about `seconds` at the most.

    Never raises for what it finds, and needs no root.
    """
    from forge.doctor import examine
    from forge.doctor.memory import remembered
    from forge.state import state_folder

    try:
        folder = state_folder()
    except OSError as error:
        found = examine(root, seconds=seconds)
        return Diagnosis(found.findings, (), (str(error),), found.complete)
    found = examine(root, state=folder, seconds=seconds)
    memory = remembered(folder, (), found, root)
    hung = tuple(f"reading /{path} hangs" for path in found.facts.hung)
    return Diagnosis(found.findings, memory.standings, (*memory.notes, *hung), found.complete)
