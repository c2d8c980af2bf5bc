"""What a backend, a device or the machine says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["ready", "untried", "failed", "unavailable"]
"""It answers; nobody asked it yet; it failed when it was asked; it cannot run here."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: whether it is well, what was found, what to do, and how long it took."""

    name: str
    ok: bool
    detail: str
    advice: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Health:
    """A backend on a device, and why its status is what it is."""

    backend: str
    device: str
    status: Status
    checks: tuple[Check, ...] = ()


def not_installed(backend: str, missing: str) -> Health:
    """The health of a backend that lacks a package: `missing` is "what: the command"."""
    what, _, how = missing.partition(": ")
    return Health(backend, "", "unavailable", (Check("installed", False, what, how),))
