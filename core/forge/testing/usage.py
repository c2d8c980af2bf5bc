"""What a process holds, by Linux's /proc, and what of it grows from cycle to cycle."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Usage:
    """A process at one moment. memory: bytes that are its own and were written, swapped or not."""

    memory: int
    descriptors: int
    threads: int
    children: int

    @classmethod
    def of(cls, pid: int | None = None) -> Usage:
        """The usage of a process, by default of this one."""
        here = _PROC / str(pid or os.getpid())
        return cls(
            _own_bytes(here),
            len(os.listdir(here / "fd")) - (pid is None),  # the folder itself is open meanwhile
            len(os.listdir(here / "task")),
            len(children(pid)),
        )


def children(pid: int | None = None) -> set[int]:
    """The processes that it has started and not reaped; one that is dead (a zombie) counts."""
    found: set[int] = set()
    for task in (_PROC / str(pid or os.getpid()) / "task").iterdir():
        found |= {int(child) for child in (task / "children").read_text().split()}
    return found


def _own_bytes(process: Path) -> int:
    fields = (line.split() for line in (process / "smaps_rollup").read_text().splitlines()[1:])
    kib = {field[0].rstrip(":"): int(field[1]) for field in fields}
    return (kib["Private_Dirty"] + kib["Swap"]) << 10


def growth(samples: Sequence[float]) -> float:
    """How much a cycle adds, on average of the last half, the largest single step left out.

    A cache that fills up or an allocator that takes one more arena is no leak; what is lost again
    and again is, and shows in the other steps.
    """
    half = samples[len(samples) // 2 :]
    steps = sorted(after - before for before, after in pairwise(half))
    if len(steps) < 2:
        raise ValueError(f"{len(samples)} cycles are too few to see growth")
    return sum(steps[:-1]) / (len(steps) - 1)


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a cycle may add on average: bytes, and a part of a descriptor, thread or process.

    A fifth of one: a leak of one adds five times as much.
    """

    memory: float
    others: float = 0.2


def grown(samples: Sequence[Usage], tolerance: Tolerance) -> list[str]:
    """What grew by more than it may, in words; one sample a cycle."""
    found = []
    for name in ("memory", "descriptors", "threads", "children"):
        most = tolerance.memory if name == "memory" else tolerance.others
        values = [getattr(sample, name) for sample in samples]
        if growth(values) > most:
            found.append(f"{name}: {growth(values):,.1f} more a cycle: {values}")
    return found


def settled(measure: Callable[[], list[str]], tries: int = 3) -> list[str]:
    """What grew each time it was measured: what a leak does, and other people's programs do not."""
    found: list[str] = []
    for _ in range(tries):
        if not (found := measure()):
            return []
    return found
