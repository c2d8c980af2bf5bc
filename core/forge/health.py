"""What a backend, a device or the machine says of itself."""

from __future__ import annotations

from dataclasses import dataclass


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
    """A backend on a device: `status` is ready, unavailable or broken."""

    backend: str
    device: str
    status: str
    checks: tuple[Check, ...] = ()
