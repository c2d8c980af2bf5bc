"""Where driver and device are: words that are written before work, and can be read while it hangs.

The driver's side is a name: of the native call that is under way. The device's side is a number in
memory that the host sees: kernels write it, also out of a replayed graph.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable

_QUIET_S = 0.5
"""Of one native call, before the log is told about it; then again after twice as long."""
_LOOK_S = 0.25
_COMPILING = 20
"""So many times as long for a call of the compiler, which takes seconds when all is well."""


def nowhere() -> str:
    """What is said of the device before anything was marked."""
    return ""


class Marks:
    """Owns the name of the native call under way, and knows who can tell where the device is.

    `enter` and `leave` cost a tenth of a microsecond: they bracket every call of the driver.
    """

    __slots__ = ("_calls", "call", "where")

    def __init__(self) -> None:
        self.call = ""
        self._calls = 0
        self.where: Callable[[], str] = nowhere
        """The last piece of work that the device began, in words; "" if nobody knows."""

    def enter(self, name: str) -> None:
        """A native call begins."""
        self._calls += 1
        self.call = name

    def leave(self) -> None:
        """It came back."""
        self.call = ""

    @property
    def calls(self) -> int:
        """How many native calls were begun."""
        return self._calls

    def place(self) -> str:
        """What a report of a stall says: the device's place, and the call that does not return."""
        at = self.where()
        parts = [f"the last that the device began: {at}"] if at else []
        if name := self.call:
            parts.append(f"in {name}")
        return "; ".join(parts)


class Teller:
    """Tells the log when a native call does not return: the host keeps the log's end.

    A thread of its own can, as the binding lets go of the interpreter's lock during a call. It says
    nothing to the host's watchdog, which goes by finished work alone.
    """

    def __init__(
        self,
        marks: Marks,
        write: Callable[[str], object] | None = None,
        quiet: float = _QUIET_S,
        look: float = _LOOK_S,
    ) -> None:
        self._marks = marks
        self._write = write or _to_log
        self._quiet, self._look = quiet, look
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="forge-hip-marks", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """No more looks."""
        self._closed.set()
        self._thread.join(1)

    def _watch(self) -> None:
        marks, seen, since, patience = self._marks, 0, 0.0, self._quiet
        while not self._closed.wait(self._look):
            name, calls = marks.call, marks.calls
            if not name or calls != seen:
                seen, since, patience = calls, time.monotonic(), self._quiet
                patience *= _COMPILING if name.startswith("hiprtc") else 1
            elif (waited := time.monotonic() - since) > patience:
                self._write(f"the driver has not returned for {waited:.1f} s; {marks.place()}\n")
                patience *= 2


def _to_log(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
