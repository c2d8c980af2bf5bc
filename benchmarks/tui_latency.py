"""How the chat feels while the CPU is busy with a reply: tui_latency.py MODEL.gguf [-s 20] [-k 60]

On a pseudo-terminal of its own: the time from the start to a screen that takes keys; then, while a
long reply streams, the time from a key to its character on the screen, and what the chat's own
process takes of a core. The worker computes on all cores meanwhile.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import re
import select
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

from machine import description

READY = "Write a message"
BARE = (
    "from textual.app import App\nfrom textual.widgets import TextArea\n"
    "class Bare(App):\n"
    "    def compose(self):\n"
    f"        yield TextArea(placeholder={READY!r})\n"
    "Bare().run()"
)
"""What Textual itself takes."""
FIRST_KEY = 0x3A00
"""Characters that no reply has: each key is another one."""
ASK = "Write a very long story about a lighthouse, with many chapters."
TICKS = os.sysconf("SC_CLK_TCK")


class Chat:
    """The program on a pseudo-terminal; `seen` is all that it wrote."""

    def __init__(self, command: list[str], width: int, height: int, env: dict[str, str]) -> None:
        self.began = time.monotonic()
        self.fd, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=env
        )
        os.close(theirs)
        self.seen = b""
        self.tokens = 0
        """Of the reply so far, as the status line says."""

    def read(self, seconds: float) -> None:
        """Take what it wrote within so many seconds."""
        if select.select([self.fd], [], [], max(0.0, seconds))[0]:
            try:
                self.seen += os.read(self.fd, 1 << 20)
            except OSError:  # Linux's way to say that the other side is gone
                time.sleep(0.05)
            for found in re.findall(rb"writing, (\d+) tokens", self.seen[-20000:]):
                self.tokens = int(found)

    def wait_for(self, what: str, seconds: float = 60.0) -> float:
        """Seconds until it has written this; TimeoutError."""
        sought, began = what.encode(), time.monotonic()
        start = 0
        while sought not in self.seen[start:]:
            if time.monotonic() - began > seconds:
                raise TimeoutError(f"no {what!r} within {seconds} s")
            start = max(0, len(self.seen) - len(sought))
            self.read(0.2)
        return time.monotonic() - began

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self.fd, text.encode())

    def cpu(self) -> float:
        """Seconds of CPU of the process that draws."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def close(self) -> None:
        """Quit as a person does."""
        self.type("\x11")
        end = time.monotonic() + 15
        while self.process.poll() is None and time.monotonic() < end:
            self.read(0.1)
        self.process.kill()
        self.process.wait()
        os.close(self.fd)


def startups(command: list[str], size: tuple[int, int], env: dict[str, str], n: int) -> str:
    """Seconds from the start to a screen that takes keys, and of CPU until then: the medians."""
    wall, cpu = [], []
    for _ in range(n):
        chat = Chat(command, *size, env)
        chat.wait_for(READY)
        wall.append(time.monotonic() - chat.began)
        cpu.append(chat.cpu())
        chat.close()
    return f"{statistics.median(wall):.2f} s, {statistics.median(cpu):.2f} s of CPU"


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("-s", "--starts", type=int, default=5)
    parser.add_argument("-k", "--keys", type=int, default=60)
    parser.add_argument("--size", default="100x30", metavar="COLUMNSxLINES")
    args = parser.parse_args()
    width, height = map(int, args.size.split("x"))
    with tempfile.TemporaryDirectory() as state:
        env = {**os.environ, "FORGE_STATE": state, "TERM": "xterm-256color"}
        command = [sys.executable, "-P", "-m", "forge", "chat", "-m", args.model, "--temp", "0"]
        print(description())
        bare = [sys.executable, "-P", "-c", BARE]
        for name, what in (("a bare Textual app", bare), ("forge chat", command)):
            took = startups(what, (width, height), env, args.starts)
            print(f"start to a screen that takes keys, {name}: {took}")
        chat = Chat(command, width, height, env)
        try:
            measure(chat, args.keys)
        finally:
            chat.close()


def measure(chat: Chat, keys: int) -> None:
    """Type while a reply streams."""
    chat.wait_for(READY)
    chat.type(ASK + "\r")
    chat.wait_for("writing, ", 120)
    latencies = []
    tokens, cpu, began = chat.tokens, chat.cpu(), time.monotonic()
    for number in range(keys):
        end = time.monotonic() + 0.15 + 0.01 * (number % 7)
        while (left := end - time.monotonic()) > 0:
            chat.read(left)
        chat.seen = chat.seen[-400:]
        chat.type(chr(FIRST_KEY + number))
        latencies.append(chat.wait_for(chr(FIRST_KEY + number), 30))
    seconds = time.monotonic() - began
    spent = (chat.cpu() - cpu) / seconds
    rate = (chat.tokens - tokens) / seconds
    latencies.sort()
    at = [1e3 * latencies[min(len(latencies) - 1, int(len(latencies) * q))] for q in (0.5, 0.95)]
    print(
        f"key to screen: median {at[0]:.0f} ms, p95 {at[1]:.0f} ms, "
        f"worst {1e3 * latencies[-1]:.0f} ms"
    )
    print(f"the chat's process: {100 * spent:.0f} % of a core at {rate:.0f} tokens/s")
    print(f"load average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
