"""What lies in the current folder is imported by neither the host nor the worker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HOSTILE = (
    "hip",
    "vulkan",
    "numpy",
    "msgspec",
    "forge",
    "forge_cpu",
    "gguf",
    "pluggy",
    "socket",
    "sitecustomize",
    "usercustomize",
)
MODULE = [sys.executable, "-m", "forge"]
SCRIPT = [str(Path(sys.executable).parent / "forge")]


@pytest.fixture
def folder(tmp_path):
    """A folder of modules that leave a mark when they are imported."""
    for name in HOSTILE:
        mark = tmp_path / f"imported-{name}"
        text = f"open({str(mark)!r}, 'w').close()\nraise SystemExit('hostile {name}')\n"
        (tmp_path / f"{name}.py").write_text(text)
    return tmp_path


def run(command, folder, path=None):
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env |= {} if path is None else {"PYTHONPATH": path}
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def imported(folder) -> list[str]:
    return sorted(mark.name for mark in folder.glob("imported-*"))


@pytest.mark.parametrize("command", [MODULE, SCRIPT], ids=["module", "script"])
@pytest.mark.parametrize("path", [None, "", os.pathsep, f".{os.pathsep}"])
def test_a_reply_from_a_hostile_folder_imports_nothing_of_it(command, path, folder, model) -> None:
    reply = ["run", "-m", str(model), "--tokens", "1,2,3", "-n", "3", "--json"]
    if path not in (None, "") and command is SCRIPT:
        pytest.skip("the interpreter imports PYTHONPATH's sitecustomize before forge is there")
    result = run([*command, *reply], folder, path)
    assert imported(folder) == []
    assert result.returncode == 0, result.stderr
    done = json.loads(result.stdout.splitlines()[-1])
    assert len(done["tokens"]) == 3
    assert done["fallbacks"] == []
