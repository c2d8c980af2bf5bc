"""A worker ends when its host does, whatever the worker is doing at that moment."""

from __future__ import annotations

import fcntl
import os
import signal
import threading

_F_SETSIG = 10  # Linux's fcntl(2); Python does not name it


def die_with(lifeline: int) -> None:
    """Be killed when the other end of this pipe closes; nothing is ever written to it.

    On Linux the kernel sends the signal itself, so that a call stuck in a driver with the
    interpreter's lock held is no obstacle. Elsewhere, and for a host already gone, a thread waits.
    (PR_SET_PDEATHSIG would follow the thread that started the worker, not the process.)
    """

    def wait() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    if hasattr(fcntl, "F_SETOWN") and hasattr(os, "O_ASYNC"):
        fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
        fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
        flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)
    threading.Thread(target=wait, daemon=True, name="lifeline").start()
