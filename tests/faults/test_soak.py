"""A minute of random faults: nothing is lost and nothing is left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOAK = Path(__file__).parents[2] / "benchmarks/soak.py"
SECONDS = float(os.environ.get("FORGE_SOAK_SECONDS", "60"))
_MORE = 90
"""Seconds to start, to end what runs when the time is over, and on a busy machine."""


@pytest.mark.timeout(SECONDS + 2 * _MORE)
def test_replies_survive_random_faults_one_after_the_other() -> None:
    seed = os.environ.get("FORGE_SOAK_SEED", str(os.getpid()))
    command = [sys.executable, str(SOAK), "--minutes", str(SECONDS / 60), "--seed", seed]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=SECONDS + _MORE, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    replies = next(line for line in done.stdout.splitlines() if line.split()[0] == "replies")
    assert int(replies.split()[1]) > SECONDS / 10
