"""What stays behind when a host is killed in mid-work: the marker that says a device is at work.

Found after a reboot, that marker would accuse the device of having taken the machine down. Nobody
but another process can remove it: the host is gone, and its worker was killed with it. So a worker
whose device can be accused leaves a process of its own behind before it loads a driver; that one
waits for the host's end, settles what it left, and ends. A machine that froze has no janitor.
"""

from __future__ import annotations

import os
import signal


def leave_behind(lifeline: int, keep: tuple[int, ...] = ()) -> None:
    """Fork a process that waits until the other end of the lifeline closes.

    keep: descriptors that are the worker's alone: a socket held open here would look like life.
    Called before there are threads, and before anything is imported that a fork would break.
    """
    if not os.environ.pop("FORGE_JANITOR", ""):
        return
    if child := os.fork():
        os.waitpid(child, 0)
        return
    try:
        os.setsid()  # the worker's session is killed when the host ends
        if os.fork():
            os._exit(0)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        os.chdir("/")
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2, *keep):
            os.dup2(nowhere, descriptor)
        os.read(lifeline, 1)
        _settle()
    finally:
        os._exit(0)


def _settle() -> None:
    from forge.state import Ledger

    with Ledger.open() as ledger:
        ledger.recover()
