"""Imported by the interpreter itself, before anything of forge: a worker that fails at its start.

Runs only where this folder is on PYTHONPATH, which `forge.testing.faulty` does for phase "start".
"""

import os
import runpy
import time
from pathlib import Path

time.sleep(float(os.environ.get("FORGE_FAULT_SECONDS", "0")))
if fault := os.environ.get("FORGE_FAULT"):
    runpy.run_path(str(Path(__file__).parent.parent / "damage.py"))["damage"](fault)
