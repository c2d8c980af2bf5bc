"""Killed processes that stay in their driver: while one does, nobody uses its device."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from forge.state.probes import forget
from forge.state.quarantine import Quarantine, everything, put, until_reboot
from forge.state.rows import Rows

if TYPE_CHECKING:
    from sqlite3 import Connection

    from forge.state.key import Key
    from forge.state.machine import Machine
    from forge.state.processes import ProcessId

PATIENCE_SECONDS = 30.0
"""One that is still there after that spoils the device until reboot, even if it goes in the end."""


def note(
    connection: Connection, process: ProcessId, key: Key, phase: str, machine: Machine
) -> Quarantine:
    """Quarantine the process's device for every backend, until `settle` knows more."""
    quarantine = Quarantine(
        0,
        key,
        f"a killed worker (process {process.pid}) is stuck in its driver",
        phase,
        machine.now(),
        until_reboot(machine),
        every_backend=True,
        process=process,
        noticed=machine.ticks(),
    )
    return put(connection, quarantine, machine)


def unsettled(connection: Connection, machine: Machine) -> bool:
    """Whether `settle` would change something."""
    found = everything(connection)
    return any(_settled(quarantine, machine) is not quarantine for quarantine in found)


def settle(connection: Connection, machine: Machine) -> bool:
    """Look at each such process again; whether something changed."""
    rows = Rows(connection, "quarantines", Quarantine)
    changed = False
    for number, old in rows.all().items():
        new = _settled(old, machine)
        if new is old:
            continue
        changed = True
        if new is not None:
            rows.replace(number, new)
        else:
            rows.remove(number)
            forget(connection, old.key)
    return changed


def _settled(old: Quarantine, machine: Machine) -> Quarantine | None:
    """What becomes of it: the same, one until reboot, or none."""
    if old.process is None or old.boot != until_reboot(machine):
        return old
    if machine.status(old.process) == "gone":
        return None
    if machine.ticks() - old.noticed < PATIENCE_SECONDS:
        return old
    reason = f"a killed worker (process {old.process.pid}) stayed in its driver: reboot to free it"
    return replace(old, process=None, reason=reason)
