"""Real models on the Vulkan backend: as near to the truth as the CPU backend, by both of its paths.

The truth is the numpy reference on the same file, which tests/unit/models holds against llama.cpp.
FORGE_TEST_MODEL is SmolLM2; FORGE_TEST_GEMMA may name a gemma-3-270m.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from tests import vulkan_device

from forge import BackendSpec, Done, Engine, SamplingParams, Tokenizer
from forge.backend import Array, Backend, BackendConfig, Executable, Sampler
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.testing.truth import agreement, divergence
from forge.weights import Weights
from forge.worker.model import LoadedModel
from forge_cpu.plain import NumpyBackend
from forge_vulkan.backend import VulkanBackend
from forge_vulkan.plugin import forge_backends

TEXT = Path(__file__).parents[3] / "benchmarks" / "text.txt"
CPU = BackendSpec("cpu", "forge_cpu.backend:CpuBackend", floor=True)
GREEDY = SamplingParams(temperature=0)
CONTEXT, TOKENS, SINGLE, REPLY = 128, 48, 16, 16
RATIO, POINTS = 1.1, 0.05
"""How much farther from the truth than the CPU backend, and how many of the first choices fewer:
what that one promises relative to llama.cpp (docs/benchmarks/quality.md), where 1 of 20 is 0.05."""
NEAR = 4.0
"""Roundings, as standard deviations of a logit's error: the most between two at a near tie."""

pytestmark = pytest.mark.timeout(180)  # a CPU in the guise of a GPU: 4 tokens a second


@dataclass(frozen=True)
class Real:
    """A model, the first tokens of a text, and the logits that follow each of them."""

    path: Path
    tokens: list[int]
    truth: Array
    cpu: Array

    @property
    def rounding(self) -> float:
        """How far logits of quantised products are from the truth."""
        return float(centred(self.cpu - self.truth).std())


def centred(rows: Array) -> Array:
    return np.asarray(rows - rows.mean(axis=1, keepdims=True))


def logits(backend: Backend, path: Path, tokens: list[int]) -> Array:
    executable = compiled(backend, path)
    rows = [rows for _, rows in LoadedModel(executable, CONTEXT, []).prefill(tokens, "all")]
    executable.close()
    backend.close()
    return np.concatenate(rows)


def compiled(backend: Backend, path: Path) -> Executable:
    file = open_gguf(path)
    graph = build_graph(file, context=CONTEXT)
    return backend.compile(graph, Weights(graph, file), lambda *_: None)


@pytest.fixture(scope="module", params=["smollm2", "gemma"])
def real(request: pytest.FixtureRequest) -> Real:
    if request.param == "smollm2":
        path = request.getfixturevalue("real_model")
    elif given := os.environ.get("FORGE_TEST_GEMMA"):
        path = Path(given)
    else:
        pytest.skip("FORGE_TEST_GEMMA names no gemma-3-270m")
    vulkan_device.device()
    tokens = Tokenizer.from_gguf(path).encode(TEXT.read_text(encoding="utf-8"))[:TOKENS]
    truth = logits(NumpyBackend(BackendConfig()), path, tokens)
    assert truth.std() > 2
    with opened(path, CPU) as engine:
        return Real(path, tokens, truth, engine.logits(tokens))


def opened(path: Path, spec: BackendSpec) -> Engine:
    device = vulkan_device.device() if spec is not CPU else None
    choices = {"backend": spec, "device": device, "context": CONTEXT, "strict": True}
    engine = Engine.open(path, **choices)
    assert engine.backend == spec.name
    return engine


@pytest.fixture(scope="module")
def engine(real: Real, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The backend in its worker, as for `forge run` and `forge bench`."""
    (spec,) = forge_backends()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FORGE_STATE", str(tmp_path_factory.mktemp("state")))
        with opened(real.path, spec) as engine:
            yield engine


@pytest.fixture(scope="module")
def executable(real: Real) -> Iterator[Executable]:
    backend = VulkanBackend(BackendConfig(device=vulkan_device.device()))
    made = compiled(backend, real.path)
    yield made
    made.close()
    backend.close()


def near(real: Real, found: Array, rows: slice) -> None:
    """Assert the bounds."""
    truth, cpu = real.truth[rows], real.cpu[rows]
    assert np.isfinite(found).all()
    assert divergence(truth, found) <= RATIO * divergence(truth, cpu)
    assert agreement(truth, found) >= agreement(truth, cpu) - POINTS


def test_the_text_in_chunks_is_as_near_to_the_truth_as_on_the_cpu(
    real: Real, engine: Engine
) -> None:
    found = engine.logits(real.tokens)
    assert engine.backend == "vulkan"
    near(real, found, slice(None))


def test_the_text_token_by_token_is_as_near_to_the_truth_as_on_the_cpu(
    real: Real, executable: Executable
) -> None:
    near(real, one_by_one(executable, real.tokens[:SINGLE]), slice(SINGLE))


def test_the_recorded_steps_of_a_reply_find_the_largest_of_those_logits(
    real: Real, executable: Executable
) -> None:
    """`decode` is what a bench measures; its logits are seen by nobody."""
    prompt, count = real.tokens[:6], 6
    executable.keep(0, 0)
    one_by_one(executable, prompt[:-1])
    told = list(executable.decode(prompt[-1], len(prompt) - 1, count, Sampler(GREEDY)))
    executable.keep(0, 0)
    rows = one_by_one(executable, [*prompt, *told[:-1]])[len(prompt) - 1 :]
    assert told == rows.argmax(axis=1).tolist()


def one_by_one(executable: Executable, tokens: list[int]) -> Array:
    executable.keep(0, 0)
    rows = []
    for position, token in enumerate(tokens):
        ids, where = np.array([token], np.int32), np.array([position], np.int32)
        (out,) = executable.run({"tokens": ids}, where, np.zeros(1, np.int32), "last").values()
        rows.append(out)
    return np.concatenate(rows)


def test_a_greedy_reply_is_the_cpus_or_parts_from_it_at_a_near_tie(
    real: Real, engine: Engine
) -> None:
    prompt = real.tokens[:17]
    told = reply(engine, prompt)
    with opened(real.path, CPU) as cpu:
        expected = reply(cpu, prompt)
        for index, (token, other) in enumerate(zip(told, expected, strict=True)):
            if token != other:
                row = cpu.logits([*prompt, *told[:index]])[-1]
                assert row[other] - row[token] <= NEAR * real.rounding
                break


def reply(engine: Engine, prompt: list[int]) -> list[int]:
    *_, done = engine.generate(prompt, GREEDY, max_tokens=REPLY, stop_ids=())
    assert isinstance(done, Done)
    assert (done.backend, done.fallbacks) == (engine.backend, ())
    return list(done.tokens)
