"""The example in examples/ is what a reader would run."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_example_chats(real_model):
    done = subprocess.run(
        [sys.executable, "-P", str(ROOT / "examples/chat.py")],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n> ") == 2
    assert "steam" in done.stdout.partition("\n> ")[2].replace("What is a steam engine?", "")


def test_the_example_is_short():
    lines = (ROOT / "examples/chat.py").read_text().splitlines()
    assert len(lines) <= 15
