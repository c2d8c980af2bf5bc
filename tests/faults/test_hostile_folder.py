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
    "forge_cpu",
    "gguf",
    "pluggy",
    "numba",
    "jinja2",
    "tokenizers",
    "threadpoolctl",
)
MODULE = [sys.executable, "-m", "forge"]
SCRIPT = [str(Path(sys.executable).parent / "forge")]


RUN_SMALL = ["--tokens", "1,2,3", "-n", "3", "--json"]


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
    result = run([*command, "run", "-m", str(model), *RUN_SMALL], folder, path)
    assert imported(folder) == []
    assert result.returncode == 0, result.stderr
    done = json.loads(result.stdout.splitlines()[-1])
    assert len(done["tokens"]) == 3
    assert done["fallbacks"] == []


def test_a_library_user_in_a_hostile_folder_has_a_worker_that_imports_nothing_of_it(
    folder, model
) -> None:
    """The host's own path is its own affair; -P keeps this one's safe, the worker's always is."""
    program = (
        "from forge import Engine\n"
        f"with Engine.open({str(model)!r}) as engine:\n"
        "    print(len(list(engine.generate([1, 2, 3], max_tokens=3))))\n"
    )
    result = run([sys.executable, "-P", "-c", program], folder)
    assert imported(folder) == []
    assert result.returncode == 0, result.stderr


def test_paths_given_relative_to_the_current_folder_still_serve_the_worker(tmp_path, model) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "sitecustomize.py").write_text(
        f"import sys\nif '-P' in sys.orig_argv: open({str(tmp_path / 'seen')!r}, 'w').close()\n"
    )
    result = run([*MODULE, "run", "-m", str(model), *RUN_SMALL], tmp_path, f"mine{os.pathsep}.")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "seen").exists()


@pytest.mark.parametrize("path", [None, ""])
def test_a_plugin_installed_in_place_is_found_from_its_own_folder(path, tmp_path) -> None:
    """pip's editable installs put the project's folder on the path, where its author works."""
    (tmp_path / "mine.py").write_text(
        "from forge.backend import BackendSpec, hookimpl\n"
        "@hookimpl\ndef forge_backends():\n    return [BackendSpec('mine', 'mine:Mine')]\n"
    )
    info = tmp_path / "mine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[forge]\nmine = mine\n")
    program = (
        f"import site, sys; site.addsitedir({str(tmp_path)!r}); "
        "from forge.cli import main; sys.exit(main(['plugins']))"
    )
    (tmp_path / "in-place.pth").write_text(f"{tmp_path}\n")
    env = "import os; os.environ['FORGE_PLUGINS'] = 'mine'; "
    listed = run([sys.executable, "-P", "-c", env + program], tmp_path, path)
    assert "backends: mine" in listed.stdout, listed.stdout + listed.stderr
