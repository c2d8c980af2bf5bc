"""llama.cpp's logits, from the tools llamacpp_peer.py and float32_twin.py in one folder."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


class LlamaCpp:
    """Asks it in processes of their own, which may print and abort as they like."""

    def __init__(self, tools: Path) -> None:
        self._tools = tools

    def float32(self, model: Path, out: Path) -> Path:
        """A copy with every weight in float32, unless it is there."""
        if not out.exists():
            self._run("float32_twin.py", str(model), str(out))
        return out

    def logits(self, model: Path, tokens: Sequence[int], *, exact: bool = False) -> Array:
        """After each token, float32 [n, vocabulary]; `exact` keeps keys and values in float32.

        Otherwise as it runs by default: int8 activations, keys and values in half precision.
        """
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "logits.npy"
            ids = ",".join(map(str, tokens))
            exactly = ["--exact"] if exact else []
            arguments = ["logits", str(model), "--tokens", ids, "--out", str(out), "-t", "2"]
            self._run("llamacpp_peer.py", *arguments, *exactly)
            return np.asarray(np.load(out, allow_pickle=False))

    def _run(self, tool: str, *arguments: str) -> None:
        command = [sys.executable, str(self._tools / tool), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{tool}: {done.stderr[-2000:]}")
