"""Asks the process that reads the gauges, with time limits: a hung driver's files never answer."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from forge_tui.monitor.reading import Groups, Reading

_FOLDER = str(Path(__file__).parents[2])
_CODE = (
    "import sys; sys.path.append(sys.argv.pop(1)); from forge_tui.sensors.main import main; main()"
)
COMMAND = (sys.executable, "-I", "-S", "-c", _CODE, _FOLDER)
"""Without the user's modules and without site-packages: it starts in a few milliseconds."""

START_SECONDS = 10.0
"""The longest until a new process's first word, on a busy machine."""
PATIENCE_SECONDS = 10.0
"""How much longer an answer may take while the process waits for a core."""
_MOST_LEFT = 3
_MOST_BYTES = 1 << 20


class SystemReader:
    """Owns the process. `read` may be called from one thread, `close` from any.

    root: where /proc and /sys are. step_seconds: how long a group of files may take; a process
    that merely waits for a core is waited for. retry_seconds: how long a group that did not answer
    is left alone. A process that is stuck in the kernel is left behind; at most three of them.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        step_seconds: float = 1.0,
        retry_seconds: float = 60.0,
        command: Sequence[str] = COMMAND,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._root = root
        self._step_seconds = step_seconds
        self._retry_seconds = retry_seconds
        self._command = command
        self._clock = clock
        self._groups = Groups()
        self._silent: dict[str, float] = {}
        self._left: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._fresh = False
        self._rest = b""
        self._closed = threading.Event()
        self._reading = threading.Lock()

    def readings(self, pid: Callable[[], int | None], seconds: float = 1.0) -> Iterator[Reading]:
        """A reading every so often, until `close`; `pid` tells the worker's process."""
        while not self._closed.is_set():
            yield self.read(pid() or 0)
            self._closed.wait(seconds)

    def read(self, pid: int = 0) -> Reading:
        """What the gauges show; a group that hangs costs `step_seconds`, once. Never raises."""
        with self._reading:
            self._groups.begin(pid)
            now = self._clock()
            self._silent = {name: until for name, until in self._silent.items() if until > now}
            problem = self._ask(pid)
            if self._closed.is_set():
                self._end()
            return self._groups.reading(self._clock(), tuple(sorted(self._silent)), problem)

    def close(self) -> None:
        """End the process; one that is stuck is left to the kernel."""
        self._closed.set()
        if (process := self._process) is not None:
            _kill(process.pid)  # whoever waits for it sees its end
        if self._reading.acquire(timeout=2 * self._step_seconds):
            try:
                self._end()
            finally:
                self._reading.release()

    def _ask(self, pid: int) -> str:
        """One question; what keeps it from being answered, "" if nothing does."""
        try:
            process = self._started()
            if process is None:
                return "" if self._closed.is_set() else "too many readers are stuck in a driver"
            question = json.dumps({"pid": pid, "skip": sorted(self._silent)}).encode()
            os.write(_descriptor(process.stdin), question + b"\n")
            hung = self._listen(process)
        except (OSError, ValueError) as error:
            self._end()
            return "" if self._closed.is_set() else f"the gauges cannot be read: {error}"
        if hung:
            self._silent[hung] = self._clock() + self._retry_seconds
            self._end()
        return ""

    def _started(self) -> subprocess.Popen[bytes] | None:
        self._left = [pid for pid in self._left if not _gone(pid)]
        if self._closed.is_set() or len(self._left) >= _MOST_LEFT:
            return None
        if self._process is None:
            self._rest, self._fresh = b"", True
            self._process = subprocess.Popen(
                [*self._command, str(self._root)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                start_new_session=True,
            )
        return self._process

    def _listen(self, process: subprocess.Popen[bytes]) -> str:
        """Collect the answer; the group of files that did not answer in time, if one did not."""
        touching, seen = "the process that reads", 0
        limit = self._step_seconds + (START_SECONDS if self._fresh else 0)
        deadline = time.monotonic() + limit
        last = deadline + PATIENCE_SECONDS
        stream = _descriptor(process.stdout)
        while True:
            wait = deadline - time.monotonic()
            if wait <= 0 or not select.select([stream], [], [], wait)[0]:
                if time.monotonic() < last and not self._closed.is_set() and _runs(process.pid):
                    deadline = time.monotonic() + self._step_seconds
                    continue
                return touching
            chunk = os.read(stream, 1 << 16)
            seen += len(chunk)
            if not chunk or seen > _MOST_BYTES:
                raise ValueError("the process that reads them has ended")
            self._fresh = False
            *lines, self._rest = (self._rest + chunk).split(b"\n")
            for line in lines:
                match json.loads(line):
                    case ["end"]:
                        return ""
                    case ["?", str(group)]:
                        touching = group
                    case [str(group), dict(values)]:
                        self._file(group, values)
            deadline = time.monotonic() + self._step_seconds

    def _file(self, group: str, values: dict[str, Any]) -> None:
        """NVIDIA's library and sysfs may both have gauges of one GPU."""
        self._groups.now[group] = {**self._groups.now.get(group, {}), **values}

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        _kill(process.pid)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            self._left.append(process.pid)
            # Popen would warn of a child that is left behind, and look for it again and again.
            process.returncode = -signal.SIGKILL


def _kill(pid: int) -> None:
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _gone(pid: int) -> bool:
    """Whether a child that was left behind has ended after all."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _descriptor(pipe: Any) -> int:
    return int(pipe.fileno())


def _runs(pid: int) -> bool:
    """Whether it waits for nothing but a core: on a busy machine that is no hang."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return False
    return stat.rpartition(b") ")[2].startswith(b"R")
