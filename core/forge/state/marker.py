"""The write-ahead marker: who is about to use a GPU, on disk before the GPU is touched."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forge.state import quarantine
from forge.state.key import Key
from forge.state.probes import forget
from forge.state.processes import ProcessId
from forge.state.quarantine import Quarantine
from forge.state.rows import Rows

if TYPE_CHECKING:
    from sqlite3 import Connection

    from forge.state.database import Database
    from forge.state.machine import Machine

_DOING = {
    "start": "it was started",
    "open": "its device was opened",
    "load": "weights were loaded",
    "compile": "kernels were compiled",
    "check": "it was checked",
    "prefill": "it read a prompt",
    "decode": "it wrote a reply",
    "evaluate": "it evaluated a text",
    "profile": "its kernels were timed",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """One marker as it is kept: what was at work, who set it, and when (seconds since 1970).

    token: drawn at random; a file that was replaced gives its rows the same numbers again.
    """

    token: str
    key: Key
    phase: str
    when: float
    machine: str
    boot: str
    process: ProcessId


@dataclass(frozen=True, slots=True)
class Recovered:
    """A marker that somebody left behind.

    quarantine: what it led to, as the machine went down; None where only forge was killed.
    """

    key: Key
    phase: str
    when: float
    quarantine: Quarantine | None


class Marker:
    """Owns one marker, until it is cleared. Neither method ever fails."""

    def __init__(self, database: Database, mark: Mark) -> None:
        self._database = database
        self._mark = mark
        self._there = self._cleared = False
        try:
            self._there = database.write(lambda db: _set(db, mark), False, durable=True)
        except BaseException:  # Ctrl-C after it was written: nobody would clear it
            self._there = True
            self.clear()
            raise

    def phase(self, phase: str, *, durable: bool = False) -> None:
        """The worker is at another phase now; durable waits for the disk."""
        if phase == self._mark.phase or self._cleared:
            return
        self._mark = new = replace(self._mark, phase=phase)
        self._there |= self._database.write(lambda db: _set(db, new), False, durable=durable)

    def clear(self) -> None:
        """No GPU work is outstanding; on disk before this returns, as a later crash is no sign."""
        self._cleared = True
        if self._there:  # left behind, it would accuse the device of the next power cut
            old = self._mark
            self._database.write(lambda db: _remove(db, old), None, durable=True, insist=True)


def mark(database: Database, key: Key, phase: str, machine: Machine) -> Marker:
    """Set a marker; it is on disk when this returns, wherever that is possible."""
    token = os.urandom(8).hex()
    new = Mark(token, key, phase, machine.now(), machine.name, machine.boot, machine.process)
    return Marker(database, new)


def _set(connection: Connection, mark: Mark) -> bool:
    rows = Rows(connection, "markers", Mark)
    for number, other in rows.all().items():
        if other.token == mark.token:
            rows.replace(number, mark)
            return True
    rows.add(mark)
    return True


def _remove(connection: Connection, mark: Mark) -> None:
    rows = Rows(connection, "markers", Mark)
    for number, other in rows.all().items():
        if other.token == mark.token:
            rows.remove(number)


def abandoned(connection: Connection, machine: Machine) -> bool:
    """Whether `recover` would find something."""
    return any(_fate(mark, machine) for mark in Rows(connection, "markers", Mark).all().values())


def recover(connection: Connection, machine: Machine) -> list[Recovered]:
    """Settle the markers of processes that are gone; in a transaction, so that one process does."""
    rows = Rows(connection, "markers", Mark)
    found = []
    for number, left in rows.all().items():
        if not (fate := _fate(left, machine)):
            continue
        rows.remove(number)
        accused = None
        if fate == "crashed":
            doing = _DOING.get(left.phase, left.phase)
            reason = f"the machine went down while {doing}"
            new = Quarantine(0, left.key, reason, left.phase, left.when)
            accused = quarantine.put(connection, new, machine)
        forget(connection, left.key)
        found.append(Recovered(left.key, left.phase, left.when, accused))
    return found


def _fate(left: Mark, machine: Machine) -> str:
    """ "killed" (forge alone), "crashed" (the machine), or "" for one that is none of our business.

    Another machine that shares the folder looks after its own; an unknown boot accuses nobody.
    """
    if left.machine and machine.name and left.machine != machine.name:
        return ""
    if left.boot and machine.boot and left.boot != machine.boot:
        return "crashed"
    return "killed" if machine.status(left.process) == "gone" else ""
