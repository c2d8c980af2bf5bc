"""Which process wrote something, in which boot of which machine, and whether it still runs."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

PROC = Path("/proc")
ProcessStatus: TypeAlias = Literal["gone", "running", "stuck"]

# Fields of /proc/PID/stat after the name in parentheses, and a flag: proc(5), linux/sched.h.
_STATE, _FLAGS, _STARTED = 0, 6, 19
_EXITING = 0x4
_SIGKILL = 1 << 8  # signal 9 in a mask of pending ones


@dataclass(frozen=True, slots=True)
class ProcessId:
    """A process, told apart from a later one of the same number by when it started.

    started: clock ticks since boot, 0 where the system does not tell.
    """

    pid: int
    started: int

    @property
    def gone(self) -> bool:
        """Whether it no longer runs."""
        return status(self) == "gone"


def boot_id(proc: Path = PROC) -> str:
    """A name that each boot of the machine has for itself; "" where the system has none."""
    return _text(proc / "sys/kernel/random/boot_id")


def machine_id(root: Path = Path("/")) -> str:
    """The installation's own name, "" if unknown. Source: machine-id(5)."""
    return _text(root / "etc/machine-id")


def this_process(proc: Path = PROC) -> ProcessId:
    """The process that asks."""
    return process_id(os.getpid(), proc)


def process_id(pid: int, proc: Path = PROC) -> ProcessId:
    """The process that has this number now."""
    fields = _stat(proc / str(pid) / "stat")
    return ProcessId(pid, int(fields[_STARTED]) if fields else 0)


def status(process: ProcessId, proc: Path = PROC) -> ProcessStatus:
    """Whether it is gone, runs, or is stuck: in state D, or killed and still there.

    A zombie is gone, unless a thread of it is left in the driver: then only its first thread is a
    zombie. State D alone also means an ordinary wait for a disk: ask more than once.
    """
    if not (proc / "self/stat").exists():
        return _without_proc(process)
    folder = proc / str(process.pid)
    leader = _stat(folder / "stat")
    if not leader or (process.started and int(leader[_STARTED]) != process.started):
        return "gone"
    threads = [leader]
    with suppress(OSError):
        threads += filter(None, (_stat(task / "stat") for task in (folder / "task").iterdir()))
    alive = [fields for fields in threads if fields[_STATE] not in "ZX"]
    if not alive:
        return "gone"
    waits = any(fields[_STATE] == "D" for fields in alive)
    exits = any(int(fields[_FLAGS]) & _EXITING for fields in threads)
    return "stuck" if waits or exits or _killed(folder) else "running"


def _killed(folder: Path) -> bool:
    """Whether SIGKILL waits for it: also for a zombie's other threads, each has its own."""
    lines = _text(folder / "status").splitlines()
    with suppress(OSError):
        for task in (folder / "task").iterdir():
            lines += _text(task / "status").splitlines()
    for line in lines:
        name, _, mask = line.partition(":")
        if name in ("SigPnd", "ShdPnd"):
            with suppress(ValueError):
                if int(mask, 16) & _SIGKILL:
                    return True
    return False


def _without_proc(process: ProcessId) -> ProcessStatus:
    try:
        os.kill(process.pid, 0)
    except ProcessLookupError:
        return "gone"
    except OSError:
        return "running"  # somebody else's
    return "running"


def _stat(path: Path) -> list[str]:
    """The fields after the name, which may hold spaces and parentheses; none if unreadable."""
    fields = _text(path).rpartition(")")[2].split()
    whole = len(fields) > _STARTED and fields[_FLAGS].isdigit() and fields[_STARTED].isdigit()
    return fields if whole else []


def _text(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace").strip()
    except OSError:
        return ""
