"""What a backend, a device or the machine says of itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["ready", "untried", "failed", "quarantined", "unavailable"]
"""It answers; nobody asked it yet; it failed when it was asked; it failed before, and is left alone
until something changes; it cannot run here."""

_LONGEST_NAME = 200
"""Characters of what a device is called."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: whether it is well, what was found, what to do, and how long it took."""

    name: str
    ok: bool
    detail: str
    advice: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Device:
    """A device: a name for people, its kind (cpu, integrated, discrete or software), and `id`.

    The id is what --device takes to choose it. `driver` is the driver that serves it, with its
    version: what is remembered of a device holds until that changes. `address` is where it sits,
    "0000:03:00.0" on PCI: by it two backends know that they share a device.
    """

    name: str
    kind: str = "cpu"
    id: str = ""
    driver: str = ""
    address: str = ""

    @property
    def key(self) -> str:
        """What it is remembered by."""
        return self.address or self.id or self.name


@dataclass(frozen=True, slots=True)
class Health:
    """A backend on a device, why its status is what it is, and the devices it could open.

    `place` says why it has its place in the order in which backends are tried.
    """

    backend: str
    device: str
    status: Status
    checks: tuple[Check, ...] = ()
    devices: tuple[Device, ...] = ()
    place: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """What the watchdog sees: a worker in `phase`, whose last beat is `age_s` old.

    Past `budget_s` it is killed; only time in which this process itself ran counts.
    """

    backend: str
    phase: str
    age_s: float
    budget_s: float


def not_installed(backend: str, missing: str) -> Health:
    """The health of a backend that lacks a package: `missing` is "what: the command"."""
    what, _, how = missing.partition(": ")
    return Health(backend, "", "unavailable", (Check("installed", False, what, how),))


def presentable(device: Device, backend: str) -> Device:
    """What a backend says of a device, fit for a terminal and for a file.

    One that has neither name, id nor address is known by its backend: "" would be any device.
    """
    sound = Device(*(_line(getattr(device, name)) for name in Device.__dataclass_fields__))
    return sound if sound.key else replace(sound, name=backend)


def _line(text: str) -> str:
    """On one line, without control characters, and of a length that somebody may read."""
    shown = text[:_LONGEST_NAME].encode(errors="replace").decode()
    return "".join(c if c.isprintable() else " " for c in shown).strip()
