"""One line typed by a person: edited, remembered, interrupted and suspended as in a shell."""

from __future__ import annotations

import os
import signal
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

try:
    import readline  # gives input() its line editing
except ImportError:  # a Python built without it edits nothing
    readline = None  # type: ignore[assignment]

PROMPT = ">>> "


def ask() -> str:
    """One line; EOFError at its end, and Ctrl-C raises KeyboardInterrupt."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with _suspendable():
            return input(PROMPT if sys.stdin.isatty() else "")
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def _suspendable() -> Iterator[None]:
    """Give the shell its terminal at Ctrl-Z, and the line back at `fg`.

    Python turns readline's own handling off: the line would be invisible after `fg`.
    """
    if readline is None or not (sys.stdin.isatty() and sys.stdout.isatty()):
        yield
        return
    normal = termios.tcgetattr(0)

    def suspend(number: int, _: FrameType | None) -> None:
        editing = termios.tcgetattr(0)
        termios.tcsetattr(0, termios.TCSADRAIN, normal)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, suspend)
        termios.tcsetattr(0, termios.TCSADRAIN, editing)
        print(f"{PROMPT}{readline.get_line_buffer()}", end="", flush=True)

    before = signal.signal(signal.SIGTSTP, suspend)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)
