"""The real default model against llama.cpp on its float32 copy: real text, and greedy replies.

Kept of the truth on real text are the eight most likely tokens at each position. With
FORGE_RECORD=1 and llama.cpp at hand it is recorded anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forge.backend import BackendConfig
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.sampling import SamplingParams
from forge.weights import Weights
from forge.worker.model import LoadedModel
from forge.worker.watched import WatchedSampler
from forge_cpu.plain import NumpyBackend

Array = np.ndarray[Any, Any]
HERE = Path(__file__).parent
TRUTH: dict[str, Any] = json.loads((HERE / "smollm2.json").read_text(encoding="utf-8"))
BOUND, TOP, NEAR_TIE, REPLY = 1e-5, 8, 0.02, 32

pytestmark = pytest.mark.timeout(240)  # half a gigabyte of float32, on two cores


@pytest.fixture(scope="module")
def model(real_model: Path) -> LoadedModel:
    file = open_gguf(real_model)
    graph = build_graph(file, context=1024)
    executable = NumpyBackend(BackendConfig()).compile(graph, Weights(graph, file), lambda *_: None)
    return LoadedModel(executable, 1024, [])


def text_logits(model: LoadedModel) -> Array:
    model.forget()
    return np.concatenate([rows for _, rows in model.prefill(TRUTH["text"], "all")])


def log_softmax(logits: Array) -> Array:
    x = logits.astype(np.float64)
    x -= x.max(axis=1, keepdims=True)
    return np.asarray(x - np.log(np.exp(x).sum(axis=1, keepdims=True)))


def grouped(ids: Array, log_p: Array) -> Array:
    """Probabilities of the tokens `ids` and of all others together."""
    chosen = np.exp(np.take_along_axis(log_p, ids, 1))
    others = np.maximum(1 - chosen.sum(axis=1, keepdims=True), 1e-12)
    return np.concatenate([chosen, others], axis=1)


def test_on_real_text_the_most_likely_tokens_are_as_likely(model: LoadedModel) -> None:
    logits = text_logits(model)
    assert logits.std() >= 2
    with np.load(HERE / "smollm2.npz", allow_pickle=False) as kept:
        ids, top = kept["ids"].astype(np.int64), np.exp(kept["log_p"].astype(np.float64))
    assert len(ids) == len(TRUTH["text"]) >= 470
    p = np.concatenate([top, np.maximum(1 - top.sum(axis=1, keepdims=True), 1e-12)], axis=1)
    q = grouped(ids, log_softmax(logits))
    divergence = (p * (np.log(p) - np.log(q))).sum(axis=1)
    assert divergence.mean() <= BOUND
    assert np.abs(np.log(top) - np.log(q[:, :-1])).max() <= 1e-3
    assert (logits.argmax(axis=1) == ids[:, 0]).mean() >= 0.995


@pytest.mark.parametrize("number", range(5))
def test_greedy_replies_are_the_truths_or_part_at_a_near_tie(
    number: int, model: LoadedModel
) -> None:
    truth = TRUTH["replies"][number]
    model.reuse([0])
    model.forget()
    sampler = WatchedSampler(SamplingParams(temperature=0))
    told = [
        token
        for token in model.generate(truth["prompt"], REPLY, [], sampler, lambda _: None)
        if isinstance(token, int)
    ]
    assert len(told) == REPLY
    for token, expected, gap in zip(told, truth["reply"], truth["gaps"], strict=True):
        if token != expected:
            assert gap <= NEAR_TIE
            break


def test_on_real_text_the_whole_distribution_is_llama_cpps(
    model: LoadedModel, real_model: Path, peer: Any, tmp_path: Path, kl: Callable[..., Array]
) -> None:
    twin = peer.float32(real_model, tmp_path / "float32.gguf")
    truth = peer.logits(twin, TRUTH["text"], tmp_path, timeout=200)
    if os.environ.get("FORGE_RECORD"):
        recorded(truth, twin, peer, tmp_path)
    logits = text_logits(model)
    assert kl(truth, logits).mean() <= BOUND
    assert (truth.argmax(axis=1) == logits.argmax(axis=1)).mean() >= 0.995


def recorded(truth: Array, twin: Path, peer: Any, folder: Path) -> None:
    """Write what the tests above compare with."""
    ids = np.argsort(-truth, axis=1, kind="stable")[:, :TOP]
    log_p = np.take_along_axis(log_softmax(truth), ids, 1).astype(np.float32)
    np.savez_compressed(
        HERE / "smollm2.npz", allow_pickle=False, ids=ids.astype(np.uint16), log_p=log_p
    )
    replies = []
    for old in TRUTH["replies"]:
        prompt = old["prompt"]
        reply = peer.greedy(twin, prompt, REPLY)
        rows = peer.logits(twin, [*prompt, *reply], folder)[len(prompt) - 1 : -1]
        best = np.sort(rows, axis=1)
        gaps = [round(float(gap), 5) for gap in best[:, -1] - best[:, -2]]
        replies.append({"prompt": prompt, "reply": reply, "gaps": gaps})
    lines = ",\n".join(json.dumps(reply) for reply in replies)
    text = f'{{"source": {json.dumps(TRUTH["source"])},\n"text": {json.dumps(TRUTH["text"])},\n'
    (HERE / "smollm2.json").write_text(f'{text}"replies": [\n{lines}\n]}}\n', encoding="utf-8")
