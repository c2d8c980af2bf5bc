"""Imported by the interpreter itself, before anything of forge: a process that lacks something.

Runs only where this folder is on PYTHONPATH. FORGE_FAULT=hang and so on: a worker that fails at its
start, for `forge.testing.faulty`. FORGE_WITHOUT=a,b: modules that cannot be imported.
"""

import os
import runpy
import sys
import time
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType


class Without(MetaPathFinder):
    """Stands before the other finders and says no."""

    def __init__(self, names: set[str]) -> None:
        self._names = names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        """ModuleNotFoundError for what must be absent, nothing for all others."""
        del path, target
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


if absent := os.environ.get("FORGE_WITHOUT"):
    sys.meta_path.insert(0, Without(set(absent.split(","))))
time.sleep(float(os.environ.get("FORGE_FAULT_SECONDS", "0")))
if fault := os.environ.get("FORGE_FAULT"):
    done = runpy.run_path(str(Path(__file__).parent.parent / "damage.py"))
    done["note"](os.environ.get("FORGE_FAULT_DIARY", ""))
    done["damage"](fault)
