"""A terminal, as a person has one."""

import os
import pty
import select
import subprocess
import sys
import time

import pytest

ATTACH = (  # makes the pseudo-terminal the one whose Ctrl-C sends signals
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)


class Terminal:
    """The program on a pseudo-terminal."""

    def __init__(self, command: list[str]) -> None:
        self.fd, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", ATTACH, *command],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def wait_for(self, text: str, seconds: float = 40) -> str:
        """What is shown until `text` appears."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert time.monotonic() < end, f"no {text!r} in {self.seen!r}"
            self._read(0.5)
        shown, _, self.seen = self.seen.partition(text)
        return shown

    def press(self, key: str, until: str) -> None:
        """Type `key`, again each second until `until` is shown.

        A signal that comes while Python draws a prompt is seen only at the next key.
        """
        end = time.monotonic() + 40
        while until not in self.seen:
            assert time.monotonic() < end, f"no {until!r} in {self.seen!r}"
            self.type(key)
            pause = time.monotonic() + 1
            while until not in self.seen and time.monotonic() < pause:
                self._read(0.1)
        self.seen = self.seen.partition(until)[2]

    def wait_for_more(self, size: int) -> None:
        """Until `size` more characters are shown."""
        end = time.monotonic() + 40
        while len(self.seen) < size:
            assert time.monotonic() < end, self.seen
            self._read(0.5)

    def _read(self, seconds: float) -> None:
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                self.seen += os.read(self.fd, 65536).decode(errors="replace")
            except OSError:  # Linux's way to say that the other side is gone
                time.sleep(0.05)

    def end(self, key: str = "") -> int:
        """The exit code; `key` is pressed every five seconds until the program is gone."""
        deadline = time.monotonic() + 40
        while self.process.poll() is None and time.monotonic() < deadline:
            if key:
                self.type(key)
            pause = time.monotonic() + 5
            while self.process.poll() is None and time.monotonic() < pause:
                self._read(0.1)
        return self.process.wait(1)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.fd)


@pytest.fixture
def terminal():
    opened = []

    def start(command: list[str]) -> Terminal:
        opened.append(Terminal(command))
        return opened[-1]

    yield start
    for one in opened:
        one.close()
