"""llama.cpp's logits, from the tools llamacpp_peer.py and float32_twin.py in one folder."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Prompts = Sequence[Sequence[int]]


class LlamaCpp:
    """Asks it in processes of their own, which may print and abort as they like."""

    def __init__(self, tools: Path) -> None:
        self._tools = tools

    def float32(self, model: Path, out: Path) -> Path:
        """A copy with every weight in float32, unless it is there."""
        if not out.exists():
            self._run(self._tools / "float32_twin.py", model, out)
        return out

    def logits(self, model: Path, prompts: Prompts, *, exact: bool = False) -> list[Array]:
        """After each token of each prompt, float32 [n, vocabulary].

        `exact` keeps keys and values in float32. Otherwise it is as it runs by default: int8
        activations, keys and values in half precision.
        """
        with tempfile.TemporaryDirectory() as folder:
            asked, out = Path(folder) / "prompts.json", Path(folder) / "logits.npy"
            asked.write_text(json.dumps([[*prompt] for prompt in prompts]), encoding="ascii")
            self._run(__file__, self._tools, model, asked, out, *(["exact"] if exact else []))
            rows = np.load(out, allow_pickle=False)
        return np.split(rows, np.cumsum([len(prompt) for prompt in prompts])[:-1])

    def _run(self, script: Path | str, *arguments: Path | str) -> None:
        command = [sys.executable, str(script), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{script}: {done.stderr[-2000:]}")


def evaluate(tools: Path, model: Path, prompts: Path, out: Path, *exact: str) -> None:
    """The process that LlamaCpp.logits starts."""
    spec = importlib.util.spec_from_file_location("llamacpp_peer", tools / "llamacpp_peer.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"{tools}: no llamacpp_peer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    every: list[list[int]] = json.loads(prompts.read_text(encoding="ascii"))
    peer = module.Peer("linux-x64").open(model, max(map(len, every)) + 8, 2, exact=bool(exact))
    rows: list[Array] = []
    for tokens in every:
        peer.clear()
        peer.decode(tokens, 0, all_logits=True)
        rows += [peer.logits(i) for i in range(len(tokens))]
    np.save(out, np.stack(rows), allow_pickle=False)


if __name__ == "__main__":
    _, folder, model, prompts, out, *exact = sys.argv
    evaluate(Path(folder), Path(model), Path(prompts), Path(out), *exact)
