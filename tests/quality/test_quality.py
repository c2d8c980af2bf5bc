"""Logits and perplexity as near to the truth as llama.cpp's, where llama.cpp is at hand."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ROOT.parent / "shared" / "tools"
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def measure() -> Callable[..., Rows]:
    """Runs a script of benchmarks/ as a person does and gives its rows."""
    peer = TOOLS / "llamacpp_peer.py"
    if not peer.exists():
        pytest.skip("no ../shared/tools/llamacpp_peer.py to ask llama.cpp with")
    fetched = subprocess.run([sys.executable, peer, "fetch"], capture_output=True, check=False)
    if fetched.returncode:
        pytest.skip("llama.cpp cannot be fetched")

    def measure(script: str, *arguments: str | Path) -> Rows:
        done = subprocess.run(
            [sys.executable, ROOT / "benchmarks" / script, TOOLS, "--json", *arguments],
            capture_output=True,
            text=True,
            timeout=55,
            check=False,
        )
        assert done.stdout, done.stderr[-2000:]
        rows: Rows = json.loads(done.stdout)
        return rows

    return measure


@pytest.mark.parametrize("name", ["llama q5_0", "gemma2 q4_k", "qwen3 iq4_nl", "smollm3 q4_1"])
def test_random_weights_are_computed_as_exactly_as_by_llama_cpp(
    measure: Callable[..., Rows], name: str
) -> None:
    (row,) = measure("quality.py", "--only", name, "--prompts", "24")
    assert row["spread"] >= 2  # live logits
    assert 0 < row["peer_kl"] < 0.2
    assert row["forge_kl"] <= 1.1 * row["peer_kl"]
    assert row["forge_top1"] >= row["peer_top1"] - 0.01


@pytest.mark.model
def test_the_perplexity_of_a_fixed_text_is_llama_cpps(
    measure: Callable[..., Rows], real_model: Path
) -> None:
    (row,) = measure("perplexity.py", real_model)
    assert row["tokens"] > 500
    assert 5 < row["peer"] < 50
    assert abs(row["apart"]) <= 0.01
