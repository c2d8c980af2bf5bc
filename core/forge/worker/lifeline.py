"""A worker ends when its host does, whatever the worker is doing at that moment."""

from __future__ import annotations

import os
import signal
import threading


def die_with(lifeline: int) -> None:
    """Be killed when the other end of this pipe closes; nothing is ever written to it.

    On Linux the host has asked the kernel for that (forge.process), so that a call stuck in a
    driver with the interpreter's lock held is no obstacle. Elsewhere, and for a host that was gone
    before it could, a thread waits.
    """

    def wait() -> None:
        os.read(lifeline, 1)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, daemon=True, name="lifeline").start()
