"""Combinations that are not to be used, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from forge.state.key import Key, describe, differing
from forge.state.probes import forget
from forge.state.processes import ProcessId
from forge.state.rows import Rows

if TYPE_CHECKING:
    from sqlite3 import Connection

    from forge.state.machine import Machine

KEPT_SECONDS = 90 * 86400.0
"""How long one that has lapsed is still listed."""

_UNKNOWN_BOOT = "unknown"


@dataclass(frozen=True, slots=True)
class Quarantine:
    """A backend on a device that forge does not use of itself.

    key: what it is about; it holds until a part of it changes.
    when: seconds since 1970. phase: what the worker was at, "" if nothing.
    boot: if not "", it holds in this boot only, and then whatever else changes.
    record: the name of a hang's record, "" if there is none.
    every_backend: it holds for every backend on that device.
    process: a killed process that is still in its driver; it holds while that is so.
    noticed: when that process was noticed, on the clock of the boot.
    """

    id: int
    key: Key
    reason: str
    phase: str = ""
    when: float = 0.0
    boot: str = ""
    record: str = ""
    every_backend: bool = False
    process: ProcessId | None = None
    noticed: float = 0.0

    def concerns(self, present: Key) -> bool:
        """Whether it is about a backend and device at all, lapsed or not."""
        if self.every_backend:
            return self.key.device in ("", present.device)
        return self.key.about(present)

    def lapsed(self, present: Mapping[str, str], boot: str) -> list[str]:
        """Why it no longer holds, for people; nothing while it does."""
        if self.boot:
            return [] if self.boot == (boot or _UNKNOWN_BOOT) else ["the machine was restarted"]
        return describe(self._parts(), present)

    def holds(self, present: Key, boot: str) -> bool:
        """Whether the present combination is not to be used."""
        return self.concerns(present) and not self.lapsed(present.parts, boot)

    def expired(self, present: Mapping[str, str], boot: str, now: float) -> bool:
        """Whether it lapsed and is so old that nobody needs it."""
        if now - self.when < KEPT_SECONDS:
            return False
        if self.boot:
            return self.boot != (boot or _UNKNOWN_BOOT)
        # another model or another backend's driver is no change of the machine
        known = {name: part for name, part in present.items() if name not in ("model", "driver")}
        return bool(differing(self._parts(), known))

    def _parts(self) -> Mapping[str, str]:
        if not self.every_backend:
            return self.key.parts
        return {name: part for name, part in self.key.parts.items() if name != "driver"}


@dataclass(frozen=True, slots=True)
class Standing:
    """A quarantine as it stands: whether it holds, and if not, what changed since."""

    quarantine: Quarantine
    holds: bool
    changed: tuple[str, ...]


def until_reboot(machine: Machine) -> str:
    """The `boot` of a quarantine that ends with this boot; with none to tell it never does."""
    return machine.boot or _UNKNOWN_BOOT


def put(connection: Connection, new: Quarantine, machine: Machine) -> Quarantine:
    """Add one, or renew the one that says the same; the device's probes no longer count."""
    rows = Rows(connection, "quarantines", Quarantine)
    number = 0
    for other, old in rows.all().items():
        same = (old.key, old.boot, old.every_backend, old.process)
        if same == (new.key, new.boot, new.every_backend, new.process):
            rows.replace(other, new)
            number = other
        elif old.expired(new.key.parts, machine.boot, machine.now()):
            rows.remove(other)
    forget(connection, new.key)
    return replace(new, id=number or rows.add(new))


def everything(connection: Connection) -> list[Quarantine]:
    """All of them, the oldest first."""
    found = Rows(connection, "quarantines", Quarantine).all()
    return [replace(quarantine, id=number) for number, quarantine in found.items()]


def clear(connection: Connection, what: int | str) -> int:
    """Remove the one of that id, those of that backend, or "all"; how many there were."""
    chosen = [
        quarantine.id
        for quarantine in everything(connection)
        if what in ("all", quarantine.id, quarantine.key.backend)
    ]
    for number in chosen:
        Rows(connection, "quarantines", Quarantine).remove(number)
    return len(chosen)
