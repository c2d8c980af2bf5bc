"""Which device a backend opened last, so that it is known before anything is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from forge.health import Device
from forge.state.rows import Rows

if TYPE_CHECKING:
    from sqlite3 import Connection

MOST_ROWS = 256
"""Beyond that the oldest are dropped."""


@dataclass(frozen=True, slots=True)
class Opened:
    """What a backend opened for a choice of the person; "" is no choice.

    parts: of the machine then, by name, that decide what there is to be opened.
    """

    backend: str
    asked: str
    device: Device
    parts: Mapping[str, str] = field(default_factory=dict[str, str])


def put(connection: Connection, new: Opened) -> None:
    """Keep the latest for its backend and choice."""
    rows = Rows(connection, "devices", Opened)
    found = rows.all()
    for number, old in found.items():
        if (old.backend, old.asked) == (new.backend, new.asked):
            rows.replace(number, new)
            return
    for number in list(found)[: max(0, len(found) + 1 - MOST_ROWS)]:
        rows.remove(number)
    rows.add(new)


def last(connection: Connection, backend: str, asked: str) -> Opened | None:
    """What it opened for this choice."""
    for row in Rows(connection, "devices", Opened).all().values():
        if (row.backend, row.asked) == (backend, asked):
            return row
    return None
