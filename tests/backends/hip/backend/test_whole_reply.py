"""A load and a reply from beginning to end: the numbers, and what the driver was asked for."""

from __future__ import annotations

import json
import os
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.hipsim.counts import counts, misuses

from forge import BackendSpec, Done, Engine, SamplingParams
from forge.backend import BackendConfig
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.weights import Weights
from forge.worker.model import LoadedModel
from forge_cpu.plain import NumpyBackend

CPU = BackendSpec("cpu", "forge_cpu.backend:CpuBackend", floor=True)
PROMPT = (504, 3575, 282, 4649, 314)
MOST_ALLOCATIONS = 4
NEAR = 4.0
"""Roundings, as standard deviations of a logit's error: the most between two at a near tie."""


class Told:
    """A reply by the command line on the simulated driver, and what that counted."""

    def __init__(
        self, command: list[str], simulated: dict[str, str], folder: Path, model: Path, *asked: str
    ) -> None:
        seen = folder / "counters"
        seen.mkdir()
        env = {
            **os.environ,
            **simulated,
            "HIPSIM_COUNTERS": str(seen),
            "FORGE_PLUGINS": "cpu,hip",
            "FORGE_STATE": str(folder / "state"),
        }
        chosen = ("-b", "hip", "--strict", "--patience", "60", "-c", "64", "--temp", "0")
        done = subprocess.run(
            [*command, "run", *asked, *chosen, "--json", "-m", str(model)],
            env=env,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        self.reply = json.loads(done.stdout)
        self.counts: Counter[str] = counts(seen)
        self.misuses = misuses(seen)


def asks_for_nothing_that_hangs(told: Told) -> None:
    assert told.misuses == []
    assert 1 <= told.counts["hipMalloc"] <= MOST_ALLOCATIONS
    for call in ("hipMemcpy", "hipMemset", "hipMallocAsync", "hipHostRegister"):
        assert told.counts[call] == 0
    assert told.counts["hipStreamCreate"] == 1
    assert told.counts["copies"] > 0
    assert told.counts["hipGraphLaunch"] > 0


def test_a_reply_asks_the_driver_for_few_allocations_and_for_nothing_that_hangs_in_the_field(
    forge_command: list[str], simulated: dict[str, str], tmp_path: Path, tiny_chat: Path
) -> None:
    told = Told(forge_command, simulated, tmp_path, tiny_chat, "Hi", "-n", "6")
    assert told.reply["backend"] == "hip"
    assert told.reply["fallbacks"] == []
    asks_for_nothing_that_hangs(told)


@pytest.mark.timeout(240)  # a GPU's 256 threads, one after the other: some seconds a token
@pytest.mark.model
def test_a_greedy_reply_of_a_real_model_is_the_cpus_or_parts_from_it_at_a_near_tie(
    forge_command: list[str], simulated: dict[str, str], tmp_path: Path, real_model: Path
) -> None:
    tokens = ",".join(map(str, PROMPT))
    told = Told(forge_command, simulated, tmp_path, real_model, "--tokens", tokens, "-n", "4")
    asks_for_nothing_that_hangs(told)
    found = told.reply["tokens"]
    with Engine.open(real_model, backend=CPU, context=64, strict=True) as engine:
        *_, done = engine.generate(
            list(PROMPT), SamplingParams(temperature=0), max_tokens=4, stop_ids=()
        )
        assert isinstance(done, Done)
        for index, (token, other) in enumerate(zip(found, done.tokens, strict=True)):
            if token != other:
                text = [*PROMPT, *found[:index]]
                rows = np.asarray(engine.logits(text))
                assert rows[-1][other] - rows[-1][token] <= NEAR * rounding(real_model, text, rows)
                break


def rounding(path: Path, tokens: list[int], cpu: np.ndarray) -> float:
    """How far logits of quantised products are from those of the weights as numbers."""
    backend = NumpyBackend(BackendConfig())
    with open_gguf(path) as file:
        graph = build_graph(file, context=64)
        made = backend.compile(graph, Weights(graph, file), lambda *_: None)
        truth = np.concatenate(
            [rows for _, rows in LoadedModel(made, 64, []).prefill(tokens, "all")]
        )
    error = cpu - truth
    return float((error - error.mean(axis=1, keepdims=True)).std())
