"""How many threads it pays to run here."""

from __future__ import annotations

import os
from pathlib import Path

_CPUS = Path("/sys/devices/system/cpu")
_CGROUP = Path("/sys/fs/cgroup")


def default_threads(cpus: Path = _CPUS, cgroup: Path = _CGROUP) -> int:
    """Physical cores that this process may run on, within its control group's quota."""
    allowed = os.sched_getaffinity(0)
    cores = {_siblings(cpus, cpu) for cpu in allowed}
    quota = _quota(cgroup)
    return max(1, len(cores) if quota is None else min(len(cores), int(quota)))


def _siblings(cpus: Path, cpu: int) -> str:
    """The hardware threads of a core, as sysfs lists them; the cpu alone where it does not."""
    try:
        return (cpus / f"cpu{cpu}/topology/thread_siblings_list").read_text(encoding="ascii")
    except OSError:
        return str(cpu)


def _quota(cgroup: Path) -> float | None:
    """Processors' worth of time (cgroup-v2.rst: cpu.max; version 1: cfs_quota_us), if bounded."""
    try:
        limit, period = (cgroup / "cpu.max").read_text(encoding="ascii").split()
        return None if limit == "max" else int(limit) / int(period)
    except (OSError, ValueError):
        pass
    try:
        limit = (cgroup / "cpu/cpu.cfs_quota_us").read_text(encoding="ascii")
        period = (cgroup / "cpu/cpu.cfs_period_us").read_text(encoding="ascii")
        return int(limit) / int(period) if int(limit) > 0 else None
    except (OSError, ValueError):
        return None
