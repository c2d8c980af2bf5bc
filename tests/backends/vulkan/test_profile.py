"""`forge bench --profile` on a Vulkan device: every kernel of the path that replies take."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests import vulkan_device
from tests.conftest import Forge

from forge import Done, Engine, SamplingParams
from forge.backend import Op
from forge.budgets import SECONDS
from forge.errors import BackendHung, ContextOverflow
from forge.gguf import open_gguf
from forge.graph import Graph
from forge.models import build_graph
from forge_vulkan.plugin import forge_backends

GREEDY = SamplingParams(temperature=0)
BOTH = {"FORGE_PLUGINS": "cpu,vulkan"}
PROMPT = [60, 61, 62, 63]


def tiny_graph(model: Path) -> Graph:
    """What the model's file says is computed."""
    with open_gguf(model) as file:
        return build_graph(file, context=64)


def opened(model: Path, context: int, **choices: object) -> Engine:
    """An engine on the device of the tests, and on no other."""
    (spec,) = forge_backends()
    device = vulkan_device.device()
    return Engine.open(model, backend=spec, device=device, context=context, strict=True, **choices)


def reply(engine: Engine) -> tuple[int, ...]:
    """What it says to the prompt, computed anew."""
    *_, done = engine.generate(PROMPT, GREEDY, max_tokens=6, stop_ids=(), reuse=False)
    assert isinstance(done, Done)
    assert (done.backend, done.fallbacks) == ("vulkan", ())
    return done.tokens


def test_every_product_is_timed_once_and_a_reply_is_as_it_was_before(tiny_chat: Path) -> None:
    graph = tiny_graph(tiny_chat)
    products = [node for node in graph.nodes if node.op is Op.MATMUL]
    read = [
        graph.weights[name] for node in products for name in node.inputs if name in graph.weights
    ]
    with opened(tiny_chat, 64) as engine:
        before, worker = reply(engine), engine.worker_pid
        for tokens, start in ((1, 0), (1, 40), (20, 0)):
            found = engine.profile(tokens, 2, start)
            assert (found.tokens, found.start) == (tokens, start)
            assert {kernel.name for kernel in found.kernels} <= {n.name for n in graph.nodes}
            assert all(kernel.seconds > 0 for kernel in found.kernels)
            times = sum(kernel.op.split("+").count("matmul") > 0 for kernel in found.kernels)
            assert times >= len(products) - 2 * len(graph.state)  # gates are made with their ups
            assert sum(kernel.weight_bytes for kernel in found.kernels) == sum(
                spec.bytes for spec in read
            )
        assert reply(engine) == before
        assert engine.worker_pid == worker


def test_a_run_that_is_longer_than_the_context_is_refused(tiny_chat: Path) -> None:
    with opened(tiny_chat, 32) as engine:
        with pytest.raises(ContextOverflow):
            engine.profile(1, 1, 32)
        assert len(engine.profile(1, 1, 31).kernels) > 0


def test_a_profile_that_outlasts_its_budget_is_a_hang_and_ends_the_worker(tiny_chat: Path) -> None:
    with opened(tiny_chat, 64, seconds={**SECONDS, "profile": 1e-4}, remember=False) as engine:
        assert engine.worker_pid is not None
        worker = Path(f"/proc/{engine.worker_pid}")
        with pytest.raises(BackendHung, match="in profile"):
            engine.profile(32, 1)
        assert not worker.exists()
        assert not engine.is_ready


def test_bench_prints_a_table_and_gives_every_kernel_as_json(forge: Forge, tiny_chat: Path) -> None:
    device = vulkan_device.device()
    asked = ("bench", "-m", tiny_chat, "-b", "vulkan", "--device", device, "--profile")
    sizes = "-p 8 -n 2 -r 1".split()
    done = forge(*asked, *sizes, env=BOTH)
    assert done.returncode == 0, done.stderr
    assert "a chunk of 8 tokens: " in done.stdout
    assert "one token: " in done.stdout
    assert "attention_decode" in done.stdout
    chunk, one = json.loads(forge(*asked, *sizes, "--json", env=BOTH).stdout)["profile"]
    assert (chunk["tokens"], one["tokens"]) == (8, 1)
    assert {"name", "op", "kernel", "seconds", "weight_bytes", "multiply_adds"} == set(
        one["kernels"][0]
    )
