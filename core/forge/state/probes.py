"""What probes and self-tests found, as long as it counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from forge.state.key import Key
from forge.state.rows import Rows

if TYPE_CHECKING:
    from sqlite3 import Connection

MOST_ROWS = 256
"""Beyond that the oldest are dropped."""

ProbeKind: TypeAlias = Literal["probe", "self-test"]


@dataclass(frozen=True, slots=True)
class Probe:
    """The outcome of a probe or a self-test; `seconds` it took, `when` in seconds since 1970."""

    key: Key
    ok: bool
    detail: str
    seconds: float
    when: float
    kind: ProbeKind = "probe"


def put(connection: Connection, new: Probe) -> None:
    """Keep the latest of its kind for its key."""
    rows = Rows(connection, "probes", Probe)
    found = rows.all()
    known = {number for number, old in found.items() if (old.key, old.kind) == (new.key, new.kind)}
    others = [number for number in found if number not in known]
    for number in {*known, *others[: max(0, len(others) + 1 - MOST_ROWS)]}:
        rows.remove(number)
    rows.add(new)


def last(connection: Connection, key: Key, kind: ProbeKind) -> Probe | None:
    """The latest whose key still holds."""
    found = reversed(Rows(connection, "probes", Probe).all().values())
    return next((probe for probe in found if probe.kind == kind and probe.key.holds(key)), None)


def forget(connection: Connection, key: Key) -> None:
    """No probe of the key's device counts any more, of whichever backend.

    Self-tests stay: they say what a driver can compute, not how a device fares now.
    """
    rows = Rows(connection, "probes", Probe)
    for number, probe in rows.all().items():
        if probe.kind == "probe" and _same_device(probe.key, key):
            rows.remove(number)


def _same_device(one: Key, other: Key) -> bool:
    if one.device and other.device:
        return one.device == other.device
    return one.backend == other.backend
