"""What can go wrong in a driver, done for real to the process that asks for it."""

from __future__ import annotations

import collections
import ctypes
import itertools
import os
import resource
import signal
import sys
import time

ENDINGS = ("hang", "busy-hang", "die", "exit", "abort", "segfault")
"""Faults after which the process does nothing more, or is gone."""


def note(diary: str) -> None:
    """Add the time, seconds since 1970, as a line to that file; "" is none."""
    if diary:
        with open(diary, "a", encoding="ascii") as file:
            file.write(f"{time.time()}\n")


def damage(fault: str) -> None:
    """Hang or end this process as `fault`, one of ENDINGS, says; the polite signals do not help."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.stderr.flush()
    match fault:
        case "hang":
            while True:
                time.sleep(3600)
        case "busy-hang":  # one C call: the interpreter's lock is never given up
            collections.deque(itertools.repeat(None), maxlen=0)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            os._exit(7)
        case "abort":
            os.abort()
        case "segfault":
            ctypes.string_at(0)
        case _:
            raise ValueError(f"{fault!r} is none of {ENDINGS}")
