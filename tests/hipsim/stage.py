"""Scenes: short programs that use the simulated driver, each played in a process of its own.

`python -m tests.hipsim.stage MODULE.FUNCTION ARGUMENTS` plays one; the arguments and what is
printed are JSON.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .build import environment, rocm_path
from .counts import counts

_ROOT = Path(__file__).parents[2]
_PATIENCE = 50.0
_MOMENT = 0.2
"""Both in seconds."""


@dataclass(frozen=True, slots=True)
class Played:
    """How a scene ended: what it returned, the error it raised, or the signal that ended it."""

    result: Any
    error: str
    signal: str
    """Its name; SIGKILL where the scene was stuck."""
    said: str
    """What it wrote to stderr."""
    counts: Counter[str]


def _outside() -> dict[str, str]:
    """This process's environment but for what it says of drivers: other tests set that too."""
    own = ("HIPSIM_CACHE", "HIPSIM_CXX")
    drivers = ("HIPSIM_", "HIP_", "ROCR_", "HSA_", "ROCM_")
    return {n: v for n, v in os.environ.items() if n in own or not n.startswith(drivers)}


def play(
    scene: str,
    settings: dict[str, str] | None = None,
    *,
    stuck_at: str = "",
    old: bool = False,
    environ: dict[str, str] | None = None,
    **arguments: Any,
) -> Played:
    """Play a scene with the simulator's settings (`{"strict": "off"}`).

    With `stuck_at`, a counter, it is expected to hang once that has been counted: it gets a moment
    to return all the same and SIGTERM to end by, then SIGKILL.
    """
    with tempfile.TemporaryDirectory() as counted:
        chosen = environment(rocm_path(old=old), counters=counted, **(settings or {}))
        process = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.stage", scene, json.dumps(arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**_outside(), **chosen, **(environ or {})},
            cwd=_ROOT,
            text=True,
        )
        if stuck_at:
            _kill_once_stuck(process, stuck_at, Path(counted))
        answer, said = process.communicate(timeout=_PATIENCE)
        ended_by = signal.Signals(-process.returncode).name if process.returncode < 0 else ""
        told = json.loads(answer.splitlines()[-1]) if answer and not ended_by else {}
        return Played(
            told.get("result"), told.get("error", ""), ended_by, said, counts(Path(counted))
        )


def _kill_once_stuck(process: subprocess.Popen[str], counter: str, folder: Path) -> None:
    late = time.monotonic() + _PATIENCE
    while process.poll() is None and not counts(folder)[counter] and time.monotonic() < late:
        time.sleep(0.02)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_MOMENT)
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_MOMENT)
    process.kill()


def _perform(scene: str, arguments: dict[str, Any]) -> dict[str, Any]:
    module, function = scene.split(".")
    try:
        played = getattr(importlib.import_module(f".scenes_{module}", __package__), function)
        return {"result": played(**arguments)}
    except Exception as error:  # noqa: BLE001  # whatever it is, the test is told
        return {"error": str(error) or type(error).__name__}


def main() -> None:
    """Play the scene that the command line names."""
    sys.stdout.write(json.dumps(_perform(sys.argv[1], json.loads(sys.argv[2]))) + "\n")
    sys.stdout.flush()
    os._exit(0)  # what a scene left behind hangs nothing


if __name__ == "__main__":
    main()
