"""How fast the phases of a backend go on a device: counts of beats by their duration.

What the bins mean is the business of whoever learns; here they are decayed, added and kept.
"""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from forge.state.trouble import Damaged

if TYPE_CHECKING:
    from sqlite3 import Connection

BINS = 64
DECAY = 0.98
"""What is left of the older counts each time new ones are added."""

Paces: TypeAlias = dict[tuple[str, int], list[float]]
"""By phase and bucket (log2 of the amount of work): BINS counts."""

_Name: TypeAlias = tuple[str, str, str, int]


def read(connection: Connection, device: str, backend: str) -> Paces:
    """Everything learned about a backend on a device. Raises Damaged."""
    device, backend = _sound(device), _sound(backend)
    query = "SELECT phase, bucket, counts, sum FROM paces WHERE device = ? AND backend = ?"
    found: Paces = {}
    for phase, bucket, counts, sum_ in connection.execute(query, (device, backend)).fetchall():
        if not isinstance(phase, bytes) or not isinstance(bucket, int):
            raise Damaged("a row of paces is not what was written")
        name = phase.decode(errors="replace"), bucket
        found[name] = _unpack((device, backend, *name), counts, sum_)
    return found


def add(
    connection: Connection,
    device: str,
    backend: str,
    counts: Mapping[tuple[str, int], Sequence[float]],
    decay: float,
) -> None:
    """Decay what is stored under each phase and bucket, and add to it. Raises Damaged."""
    device, backend = _sound(device), _sound(backend)
    stored = read(connection, device, backend)
    for (phase, bucket), new in counts.items():
        old = stored.get((phase, bucket), [0.0] * BINS)
        total = array("d", (a * decay + b for a, b in zip(old, new, strict=True)))
        name = device, backend, phase, bucket
        packed = total.tobytes()
        connection.execute(
            "INSERT OR REPLACE INTO paces VALUES (?, ?, ?, ?, ?, ?)",
            (*name, packed, _sum(name, packed)),
        )


def check(counts: Mapping[tuple[str, int], Sequence[float]], decay: float) -> None:
    """ValueError unless each has BINS finite counts, none negative, and the decay is a fraction."""
    if not 0 <= decay <= 1:
        raise ValueError(f"decay is {decay}, must be 0 to 1")
    for name, bins in counts.items():
        if len(bins) != BINS or not all(math.isfinite(count) and count >= 0 for count in bins):
            raise ValueError(f"counts of {name} are not {BINS} finite numbers of 0 or more")


def _unpack(name: _Name, counts: object, sum_: object) -> list[float]:
    if not isinstance(counts, bytes) or sum_ != _sum(name, counts):
        raise Damaged("a row of paces is not what was written")
    bins = array("d")
    if len(counts) != BINS * bins.itemsize:
        raise Damaged("a row of paces has another length")
    bins.frombytes(counts)
    return bins.tolist()


def _sum(name: _Name, packed: bytes) -> int:
    return zlib.crc32(packed, zlib.crc32(repr(name).encode()))


def _sound(text: str) -> str:
    return text.encode(errors="replace").decode()
