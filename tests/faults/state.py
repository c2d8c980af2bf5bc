"""Processes that use the ledger, and what it is filled with, for every test of it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys

from forge.health import Device
from forge.state import BINS, Key, Ledger

KEY = Key("hip", "0000:03:00.0", {"kernel": "6.17.9"})
OTHER = Key("vulkan", "0000:03:00.0", {"kernel": "6.17.9"})
PACES = {("decode", bucket): [float(bucket)] * BINS for bucket in range(12)}
DEVICE = Device("Radeon", "discrete", "0000:03:00.0")


def start(program: str, folder, *arguments: str, **options) -> subprocess.Popen[str]:
    """A process whose program has `folder`, `KEY`, `Ledger` and the words that follow."""
    head = (
        "import sys\nfrom pathlib import Path\nfrom forge.state import *\n"
        f"KEY = Key('hip', '0000:03:00.0', {{'kernel': '6.17.9'}})\n"
        f"folder = Path({str(folder)!r})\n"
    )
    return subprocess.Popen(
        [sys.executable, "-P", "-W", "error", "-c", head + program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        **options,
    )


def finish(child: subprocess.Popen[str], stdin: str | None = None) -> str:
    out, _ = child.communicate(stdin, timeout=50)
    return out


def killed(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.communicate()


def whole(folder) -> None:
    """SQLite itself finds nothing wrong."""
    connection = sqlite3.connect(folder / "state.db")
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()


def fill(folder) -> None:
    with Ledger.open(folder) as ledger:
        ledger.quarantine(KEY, "hung", "decode")
        ledger.mark(KEY, "decode")
        ledger.probed(OTHER, True, "7 cases", 2.0)
        ledger.opened("hip", "", DEVICE)
        ledger.add_paces("dev", "hip", PACES)
        assert ledger.notes == ()


IN_VAIN = """
import os, sqlite3, sys
from pathlib import Path
from forge.state import *
if sys.argv[2:]:  # the interpreter and forge may lie where that user cannot read them
    user = int(sys.argv[2])
    os.setgroups([]), os.setgid(user), os.setuid(user)
KEY = Key('hip', '0000:03:00.0')
with Ledger.open(Path(sys.argv[1])) as ledger:
    print(ledger.quarantined(KEY) is not None)
    marker = ledger.mark(KEY, 'load')
    ledger.quarantine(Key('vulkan'), 'for this run')
    print(ledger.quarantined(Key('vulkan')) is not None)
    marker.clear()
    print(ledger.kept, len(ledger.notes) > 0)
"""


def in_vain(folder, *words: str, **options) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", IN_VAIN, str(folder), *words],
        capture_output=True,
        text=True,
        timeout=50,
        **options,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()
