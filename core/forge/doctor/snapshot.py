"""What `gather` read, and what it could not: a snapshot of files, taken within a time limit."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from forge.doctor.files import read_some
from forge.doctor.gather import PYTHON_PATH

GATHER = Path(__file__).with_name("gather.py")
COMMAND = (sys.executable, "-I", "-S", str(GATHER))
"""Without the user's modules and without site-packages: it starts in a few milliseconds."""

STEP_SECONDS = 0.4
"""The longest that reading one file may take; sysfs answers in microseconds."""
START_SECONDS = 5.0
"""The longest until its first word: an interpreter on a busy machine."""
_MOST_CHILDREN = 6
_WORDS = {
    "ENOENT": "there is no such file",
    "EACCES": "permission denied",
    "EPERM": "permission denied",
}
_MOST_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Access:
    """Whether a file is there, whether we may read and write it, and its group's number."""

    exists: bool
    allowed: bool
    group: int


@dataclass(slots=True)
class Snapshot:
    """Files by their path under the root, without a leading slash.

    errors: why a file could not be read: a name of errno.h.
    hung: reading these did not return in time; a process may be left behind in each.
    complete: False where time ran out before everything was looked at.
    """

    texts: dict[str, str] = field(default_factory=dict)
    folders: dict[str, list[str]] = field(default_factory=dict)
    accesses: dict[str, Access] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    hung: list[str] = field(default_factory=list)
    complete: bool = False

    def text(self, path: str) -> str | None:
        """A file's text without the white space around it; None where it was not read."""
        found = self.texts.get(path)
        return None if found is None else found.strip("\0 \n\r\t")

    def names(self, path: str) -> list[str]:
        """A folder's entries."""
        return self.folders.get(path, [])

    def why(self, path: str) -> str:
        """Why there is nothing at that path; "" where nobody found out."""
        if self.hangs(path):
            return "reading it hangs"
        if code := self.errors.get(path):
            return _WORDS.get(code) or os.strerror(getattr(errno, code, errno.EIO))
        return "" if self.complete else "it was not read: there was no time"

    def absent(self, path: str) -> bool:
        """Whether there is certainly no such file."""
        if path in self.errors:
            return self.errors[path] in ("ENOENT", "ENOTDIR", "ENODEV")
        folder, _, name = path.rpartition("/")
        if folder in self.folders:
            return name not in self.folders[folder]
        return bool(folder) and self.absent(folder)

    def hangs(self, path: str) -> bool:
        """Whether it, or the folder it is in, is one that does not answer."""
        return any(path == hung or path.startswith(hung + "/") for hung in self.hung)


def take(
    root: Path,
    *,
    full: bool = True,
    seconds: float = 4.0,
    environ: Mapping[str, str] | None = None,
    python_path: Sequence[str] = (),
    command: Sequence[str] = COMMAND,
) -> Snapshot:
    """Read everything under `root` in another process, in `seconds` at the most.

    python_path: folders in which packages of ROCm may lie.

    A file whose reading takes longer than STEP_SECONDS is given up, together with the process that
    reads it; the next process leaves it out. Never raises, whatever is in the files.
    """
    taken = Snapshot()
    deadline = time.monotonic() + seconds
    mode = "full" if full else "quick"
    env = dict(os.environ if environ is None else environ) | {PYTHON_PATH: ":".join(python_path)}
    for _ in range(_MOST_CHILDREN):
        pending = _run([*command, str(root), mode, *taken.hung], env, taken, deadline)
        if pending is None or time.monotonic() >= deadline:
            break
        taken.hung.append(pending)
    return taken


def _run(
    command: Sequence[str], environ: Mapping[str, str], taken: Snapshot, deadline: float
) -> str | None:
    """One child; the path that it hangs at, or None when it is done or of no use."""
    ours, theirs = os.pipe()
    child = None
    try:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            env=environ,
            cwd="/",
            start_new_session=True,
        )
        os.close(theirs)
        theirs = -1
        return _listen(ours, child.pid, taken, deadline)
    except (OSError, ValueError) as error:
        taken.errors[""] = f"no process to read with: {error}"
        return None
    finally:
        os.close(ours)
        if theirs >= 0:
            os.close(theirs)
        if child:
            _end(child)


def _listen(stream: int, pid: int, taken: Snapshot, deadline: float) -> str | None:
    rest, seen, pending = b"", 0, None
    limit = min(time.monotonic() + START_SECONDS, deadline)
    while True:
        wait = limit - time.monotonic()
        if wait <= 0 or not select.select([stream], [], [], wait)[0]:
            if time.monotonic() < deadline and _runs(pid):
                limit = min(time.monotonic() + STEP_SECONDS, deadline)
                continue
            return pending
        chunk = os.read(stream, 1 << 16)
        seen += len(chunk)
        if not chunk or seen > _MOST_BYTES:
            return None
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            step = _step(line)
            if step == ["end"]:
                taken.complete = True
                return None
            pending = _note(step, taken)
        if lines:
            limit = min(time.monotonic() + STEP_SECONDS, deadline)


def _runs(pid: int) -> bool:
    """Whether it waits for nothing but a core: on a busy machine that is no hang."""
    stat = read_some(Path(f"/proc/{pid}/stat"), 4096) or b""
    return stat.rpartition(b") ")[2].startswith(b"R")


def _step(line: bytes) -> list[object]:
    with suppress(ValueError, RecursionError):
        found = json.loads(line)
        if isinstance(found, list) and found:
            return found
    return [""]


def _note(step: list[object], taken: Snapshot) -> str | None:
    """File a step; the path that is being touched now."""
    match step:
        case ["?", str(path)]:
            return path
        case ["text", str(path), str(text)]:
            taken.texts[path] = text
        case ["names", str(path), [*names]]:
            taken.folders[path] = [name for name in names if isinstance(name, str)]
        case ["access", str(path), [bool(exists), bool(allowed), int(group)]]:
            taken.accesses[path] = Access(exists, allowed, group)
        case ["error", str(path), str(why)]:
            taken.errors[path] = why
    return None


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill it; one that is stuck in the kernel is left behind, for nothing can be done."""
    if child.poll() is None:
        with suppress(OSError):
            os.killpg(child.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        child.wait(0.2)
    # Popen keeps count of children that are left behind, and would warn of this one.
    child.returncode = child.returncode if child.returncode is not None else -signal.SIGKILL
