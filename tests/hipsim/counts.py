"""Read what the simulated driver counted: HIPSIM_COUNTERS names the folder."""

from __future__ import annotations

import struct
from collections import Counter
from pathlib import Path

_RECORD = struct.Struct("120sQ")


def counts(folder: Path) -> Counter[str]:
    """What all processes counted together, those that were killed too.

    A call's own name counts the calls, `launch:NAME` and `run:NAME` the launches of a kernel and
    how often it ran (a graph's replays run and launch nothing), `ns:NAME` the nanoseconds of the
    processor that this took, `copied:h2d` the bytes of copies,
    `hipMalloc:bytes` those of allocations, `misuse:...` what strict mode refuses, `fault:RULE` how
    often a fault was injected.
    """
    total: Counter[str] = Counter()
    for each in sorted(folder.glob("*.counts")):
        for name, value in _RECORD.iter_unpack(each.read_bytes()):
            if value:
                total[name.rstrip(b"\0").decode()] += value
    return total


def misuses(folder: Path) -> list[str]:
    """What was done that no program of ours may do."""
    return sorted(name for name in counts(folder) if name.startswith("misuse:"))
