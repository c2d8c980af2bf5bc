"""The kernel's log of this boot, read without root where that is possible, and never for long."""

from __future__ import annotations

import os
import re
import select
import stat
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from forge.doctor.signatures import Hit, Line, scan

JOURNAL = ("journalctl", "-k", "-b", "-q", "--no-pager", "-o", "short-monotonic", "-n", "20000")
"""The same lines from systemd's journal, for members of systemd-journal or adm."""
ADVICE = (
    "sudo sysctl kernel.dmesg_restrict=0, or sudo usermod -aG systemd-journal $USER "
    "and log in again"
)
FAULT_SECONDS = 0.5
_MOST_BYTES = 8 << 20
_MOST_LINES = 20_000
_RECORD = re.compile(
    r"^\d{1,10},\d{1,20},(\d{1,16}),[^;\n]{0,80};(.{0,2000})", re.ASCII | re.MULTILINE
)
_JOURNAL_LINE = re.compile(
    r"^\[ {0,12}(\d{1,10}\.\d{1,9})\] \S{1,255} kernel: (.{0,2000})", re.MULTILINE
)
_DRIFT = 50e-6
"""The log's clock is the processor's, which strays from CLOCK_MONOTONIC by tens of ppm."""


@dataclass(frozen=True, slots=True)
class KernelLog:
    """The log's lines, or why there are none.

    source: "/dev/kmsg", "journalctl" or "". why: "" where it could be read.
    """

    lines: tuple[Line, ...] = ()
    source: str = ""
    why: str = ""

    @property
    def readable(self) -> bool:
        """Whether the lines are those of the kernel, were there any."""
        return not self.why


def read(
    root: Path = Path("/"),
    *,
    since: float = 0.0,
    seconds: float = 2.0,
    journal: Sequence[str] | None = JOURNAL,
) -> KernelLog:
    """The lines since a moment (CLOCK_MONOTONIC, in seconds), within `seconds`; never raises.

    /dev/kmsg is tried first, then the journal, unless it is None or `root` is not the machine's
    own. A little more than asked for is returned, because the two clocks drift apart.
    """
    deadline = time.monotonic() + seconds
    least = since - 1 - since * _DRIFT if since else 0.0
    found = _kmsg(root, deadline)
    if found.why and journal and root == Path("/"):
        other = _journal(journal, deadline)
        found = other if other.readable else KernelLog(why=f"{found.why}; {other.why}")
    recent = [line for line in found.lines if line.at >= least]
    return KernelLog(tuple(recent[-_MOST_LINES:]), found.source, found.why)


def after_a_fault(since: float, root: Path = Path("/")) -> tuple[Hit, ...]:
    """What the kernel said about GPUs since a moment (time.monotonic()), within half a second.

    Empty where it said nothing and where its log cannot be read.
    """
    started = time.monotonic()
    log = read(root, since=since, seconds=FAULT_SECONDS * 0.8)
    spare = FAULT_SECONDS - (time.monotonic() - started)
    newest = log.lines[-int(max(spare, 0.05) * 20_000) :]
    return tuple(scan(newest))


def _kmsg(root: Path, deadline: float) -> KernelLog:
    """Each read of the device is one record; it says "try again" after the last one."""
    path = root / "dev/kmsg"
    try:
        device = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return KernelLog(why=f"/dev/kmsg: {error.strerror}")
    chunks, size = [], 0
    try:
        if not stat.S_ISCHR(os.fstat(device).st_mode) and not stat.S_ISREG(
            os.fstat(device).st_mode
        ):
            return KernelLog(why="/dev/kmsg: it is no device")
        while size < _MOST_BYTES and time.monotonic() < deadline:
            try:
                chunk = os.read(device, 8192)
            except BlockingIOError:
                break
            except BrokenPipeError:  # older records were overwritten meanwhile: read on
                continue
            if not chunk:
                break
            chunks.append(chunk)
            size += len(chunk)
    except OSError as error:
        return KernelLog(why=f"/dev/kmsg: {error.strerror}")
    finally:
        os.close(device)
    text = b"".join(chunks).decode(errors="replace")
    lines = [Line(int(at) / 1e6, words) for at, words in _RECORD.findall(text)]
    return KernelLog(tuple(lines), "/dev/kmsg")


def _journal(command: Sequence[str], deadline: float) -> KernelLog:
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return KernelLog(why=f"{command[0]}: {error.strerror}")
    raw, in_time = _drain(process, deadline)
    process.kill()
    if process.stdout:
        process.stdout.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(0.2)
    lines = [
        Line(float(at), words) for at, words in _JOURNAL_LINE.findall(raw.decode(errors="replace"))
    ]
    if lines:
        return KernelLog(tuple(lines), "journalctl")
    reason = "it shows no lines to this account" if in_time else "it takes too long"
    return KernelLog(why=f"{command[0]}: {reason}")


def _drain(process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bool]:
    """Its output until it ends or time is up; whether it ended."""
    chunks: list[bytes] = []
    stream = process.stdout
    while stream and (wait := deadline - time.monotonic()) > 0:
        with suppress(OSError):
            if not select.select([stream], [], [], wait)[0]:
                break
            chunk = os.read(stream.fileno(), 1 << 16)
            if not chunk or sum(map(len, chunks)) > _MOST_BYTES:
                return b"".join(chunks), True
            chunks.append(chunk)
    return b"".join(chunks), False
