"""What figures were measured on: the processor, and how fast memory was read in the same run."""

from __future__ import annotations

import ctypes
import os
import platform
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

_BYTES = 256 << 20
"""Of each thread: far more than any cache."""


def description() -> str:
    """One line: processor, cores that this process may use, kernel, Python."""
    name = platform.machine()
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("model name"):
            name = line.partition(":")[2].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return f"{name}, {cores} cores, Linux {platform.release()}, Python {platform.python_version()}"


def read_rate(threads: int, repetitions: int = 5) -> float:
    """GB/s at which so many threads read memory together; the median.

    memchr of the C library searches for a byte that is not there: it reads, and does no more.
    """
    libc = ctypes.CDLL(None)
    libc.memchr.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    libc.memchr.restype = ctypes.c_void_p
    memory = [np.zeros(_BYTES, np.uint8) for _ in range(threads)]
    for block in memory:
        block[:: os.sysconf("SC_PAGE_SIZE")] = 1  # pages that are only promised read as one
    rates = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(repetitions + 1):
            start = time.perf_counter()
            list(pool.map(lambda block: libc.memchr(block.ctypes.data, 2, _BYTES), memory))
            rates.append(threads * _BYTES / (time.perf_counter() - start) / 1e9)
    return statistics.median(rates[1:])


def processor_seconds(pid: int) -> float:
    """That a process took, in nanoseconds' steps; in /proc's hundredths where it has no clock."""
    clock = ctypes.c_int()
    if ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock)) == 0:
        try:
            return time.clock_gettime(clock.value)
        except OSError:
            pass
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    user, system = fields.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def markdown_table(titles: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """Titles and rows as Markdown."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
