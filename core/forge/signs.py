"""What the kernel says of a process that says nothing itself.

A worker on a busy machine is silent because it gets no core, or because its pages come from a slow
disk. Neither is a hang, and both can be told from one: a thread that waits in a driver sleeps.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_MAJOR_FAULTS = 9
"""Of the fields of /proc/PID/stat that follow the name: proc_pid_stat(5) counts it as 12th."""


@dataclass(frozen=True, slots=True)
class Signs:
    """Seconds that its threads were ready to run and had no core; pages that came from a disk."""

    delays: dict[str, float]
    pages: int

    def since(self, before: Signs) -> tuple[float, int]:
        """Seconds in which the thread that lacked a core most lacked one, and pages that came."""
        delayed = [now - before.delays.get(name, now) for name, now in self.delays.items()]
        return max(delayed, default=0.0), self.pages - before.pages


def signs(pid: int, proc: Path = Path("/proc")) -> Signs:
    """Of a process and its threads; empty where nobody tells (/proc/PID/schedstat, Linux)."""
    delays: dict[str, float] = {}
    pages = 0
    with suppress(OSError, ValueError, IndexError):
        pages = int(_after_name(proc / str(pid) / "stat")[_MAJOR_FAULTS])
    for task in _tasks(pid, proc):
        with suppress(OSError, ValueError, IndexError):
            delays[task.name] = int((task / "schedstat").read_text().split()[1]) / 1e9
    return Signs(delays, pages)


def whereabouts(pid: int, proc: Path = Path("/proc")) -> tuple[str, ...]:
    """For each thread its state and the kernel's function that it waits in, as in "D msleep"."""
    found: list[str] = []
    for task in _tasks(pid, proc):
        with suppress(OSError, IndexError):
            state = _after_name(task / "stat")[0]
            name = (task / "wchan").read_text().strip("\0 \n")
            found.append(f"{state} {name}" if name not in ("", "0") else state)
    return tuple(found)


def held(pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether a debugger has stopped all its threads: state t, which no signal gives."""
    states = [found.split()[0] for found in whereabouts(pid, proc)]
    return bool(states) and set(states) == {"t"}


def _tasks(pid: int, proc: Path) -> Iterator[Path]:
    with suppress(OSError):
        for name in sorted(os.listdir(proc / str(pid) / "task"), key=len):
            yield proc / str(pid) / "task" / name


def _after_name(path: Path) -> list[str]:
    return path.read_text().rpartition(")")[2].split()
