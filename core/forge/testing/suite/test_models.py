"""L2: whole models: every architecture and weight type, and each way to compute them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import pytest

from forge.errors import BackendUnsupported
from forge.executable import Rows
from forge.models import ARCHITECTURES
from forge.sampling import SamplingParams
from forge.testing.blocks import WEIGHT_TYPES
from forge.testing.remote import RemoteBackend, RemoteExecutable
from forge.testing.suite.models import (
    EDGES,
    FEW,
    SPREAD,
    TinyModel,
    bound,
    distance,
    drawn_alike,
    least_agreement,
    prefill,
    same,
)
from forge.testing.truth import agreement

Make: TypeAlias = Callable[[str, str], TinyModel]

LEAST = ("llama", "f16")
"""What every backend must run."""

VARIED = ("llama", "gemma3", "gpt-oss", "qwen3moe")
"""Architectures that are tried in every way; of the others one is enough."""
BRISK = ("llama", "qwen3")
"""Those of the quick subset."""

PAIRS = [
    LEAST,
    *((architecture, "f16") for architecture in ARCHITECTURES if architecture != LEAST[0]),
    *((a, quant) for a in ARCHITECTURES for quant in (SPREAD if a in VARIED else FEW)),
    *((LEAST[0], quant) for quant in WEIGHT_TYPES if quant not in (*SPREAD, "f16")),
]
QUICK = ("f16", "q4_0")
GREEDY = SamplingParams(temperature=0)
DRAWN = SamplingParams(temperature=1.5, seed=11, top_k=0, top_p=1.0, min_p=0.0)


def ways(first: int, *others: int) -> list[object]:
    """Architectures and values: the first for all, the others for those that are varied."""
    pairs = [(architecture, first) for architecture in ARCHITECTURES]
    pairs += [(architecture, value) for architecture in VARIED for value in others]
    return [
        pytest.param(a, v, marks=() if a in BRISK and v == first else pytest.mark.forge_long)
        for a, v in pairs
    ]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Models by architecture and weight type, each made once."""
    folder = tmp_path_factory.mktemp("models")
    made: dict[tuple[str, str], TinyModel] = {}

    def make(architecture: str, quant: str) -> TinyModel:
        key = architecture, quant
        if key not in made:
            made[key] = TinyModel.make(folder, architecture, quant)
        return made[key]

    return make


def taken(model: TinyModel, backend: RemoteBackend) -> TinyModel:
    """The model, if the backend runs it; one that every backend must run is no matter of choice."""
    if why := model.unsupported(backend):
        if (model.architecture, model.quant) == LEAST:
            pytest.fail(f"the least that a backend runs is llama with F16 weights: {why}")
        pytest.skip(f"unsupported: {why}")
    return model


@pytest.fixture(
    params=[
        pytest.param(a, marks=() if a in BRISK else pytest.mark.forge_long) for a in ARCHITECTURES
    ]
)
def model(request: pytest.FixtureRequest, tiny: Make, backend: RemoteBackend) -> TinyModel:
    """An architecture in F16: one of each kind, or what a test asks for."""
    return taken(tiny(request.param, "f16"), backend)


@pytest.fixture
def executable(model: TinyModel, backend: RemoteBackend) -> Iterator[RemoteExecutable]:
    """The model, compiled."""
    made = model.on(backend)
    yield made
    if backend.worker.alive:
        made.close()


@pytest.mark.parametrize(
    ("architecture", "quant"),
    [
        pytest.param(a, q, marks=() if a in BRISK and q in QUICK else pytest.mark.forge_long)
        for a, q in PAIRS
    ],
)
def test_logits_are_those_of_the_model(
    architecture: str, quant: str, tiny: Make, backend: RemoteBackend
) -> None:
    """Against the reference in float64: KL divergence and the most likely token."""
    model = taken(tiny(architecture, quant), backend)
    assert model.logits.std() > 2, "the model is not alive: its logits would hide faults"
    executable = model.on(backend)
    found = prefill(executable, model.tokens)
    executable.close()
    assert np.isfinite(found).all()
    off = distance(model, found)
    assert off <= bound(quant), f"KL divergence {off:.3g}, bound {bound(quant):.3g}"
    assert agreement(model.logits, found) >= least_agreement(quant)


def test_a_prompt_at_once_is_the_same_as_token_by_token(
    model: TinyModel, executable: RemoteExecutable
) -> None:
    """Prefill and decode are two kernels and one model."""
    whole = prefill(executable, model.tokens)
    assert executable.keep(0) == 0
    spared = model.spared(len(model.tokens))
    same(prefill(executable, model.tokens, chunk=1), whole, spared=spared)


@pytest.mark.parametrize(("model", "chunk"), ways(7, 2, 16, 33), indirect=["model"])
def test_a_prompt_in_chunks_is_the_same_as_at_once(
    chunk: int, model: TinyModel, executable: RemoteExecutable
) -> None:
    """Where a prompt is cut does not matter."""
    whole = prefill(executable, model.tokens)
    assert executable.keep(0) == 0
    same(prefill(executable, model.tokens, chunk=chunk), whole)


def test_only_the_rows_that_were_asked_for_come_back(
    model: TinyModel, executable: RemoteExecutable
) -> None:
    """none, last, and indices in any order; what is not asked for is computed all the same."""
    begun, count = 6, min(15, executable.chunk)  # rows are counted from the run's first token
    tokens = model.tokens[: begun + count]
    whole = prefill(executable, tokens)
    some = [row for row in (14, 3, 3, 0) if row < count]
    asked: tuple[tuple[Rows, list[int]], ...] = (
        ("none", []),
        ("last", [count - 1]),
        (some, some),
    )
    for rows, wanted in asked:
        executable.keep(0)
        prefill(executable, tokens[:begun])
        now = range(begun, begun + count)
        (found,) = executable.run({"tokens": tokens[begun:]}, now, rows).values()
        assert found.shape == (len(wanted), whole.shape[1])
        if wanted:
            same(found, whole[begun:][wanted])
        kept = executable.keep(len(tokens))
        following = prefill(executable, [*tokens[kept:], 7], start=kept)
        executable.keep(0)
        same(following[-1:], prefill(executable, [*tokens, 7])[-1:])


@pytest.mark.parametrize(("model", "layer"), ways(1, 0, 2), indirect=["model"])
def test_two_stages_one_after_the_other_are_the_whole(
    layer: int, model: TinyModel, backend: RemoteBackend, executable: RemoteExecutable
) -> None:
    """`Graph.split` gives graphs that the backend runs like any other."""
    whole = prefill(executable, model.tokens[:40])
    stages = [model.on(backend, stage) for stage in model.graph.split(layer)]
    (hidden_name,) = stages[0].graph.outputs
    parts, step = [], min(10, *(stage.chunk for stage in stages))
    for start in range(0, 40, step):
        positions = range(start, min(start + step, 40))
        ids = {"tokens": model.tokens[positions.start : positions.stop]}
        hidden = stages[0].run(ids, positions)[hidden_name]
        assert hidden.shape[0] == len(positions)
        (logits,) = stages[1].run({hidden_name: hidden}, positions).values()
        parts.append(logits)
    for stage in stages:
        stage.close()
    same(np.concatenate(parts), whole)


@pytest.mark.parametrize(("model", "count"), ways(17, 0, 1, 39), indirect=["model"])
def test_a_prefix_that_was_kept_is_the_same_as_a_fresh_one(
    count: int, model: TinyModel, executable: RemoteExecutable
) -> None:
    """What was forgotten never shows, what was kept counts."""
    tokens = model.tokens[:40]
    other = [*tokens[:count], *((t * 7 + 3) % 320 for t in tokens[count:])]
    fresh = prefill(executable, other)
    assert executable.keep(0) == 0
    prefill(executable, model.tokens)  # a longer past than what follows
    kept = executable.keep(count)
    assert 0 <= kept <= count
    same(prefill(executable, other[kept:], start=kept), fresh[kept:])


def test_a_profile_names_the_graphs_nodes_and_leaves_no_trace(
    model: TinyModel, executable: RemoteExecutable
) -> None:
    """Optional: a backend without timestamps says that it does not support it."""
    tokens, names = model.tokens[:20], {node.name for node in executable.graph.nodes}
    before = prefill(executable, tokens)
    executable.keep(0)
    for count, start in ((1, 0), (min(9, executable.chunk), 0), (1, 30)):
        try:
            timings = executable.profile(count, 2, start)
        except BackendUnsupported:
            continue
        assert names & {timing.name for timing in timings}, "no node of the graph is timed"
        assert executable.graph.outputs[0] in [timing.name for timing in timings]
        assert all(timing.kernel and 0 <= timing.seconds < 60 for timing in timings)
        assert executable.keep(0) == 0
    same(prefill(executable, tokens), before)


def test_a_context_can_be_filled_to_its_last_token_and_begun_again(
    model: TinyModel, executable: RemoteExecutable
) -> None:
    """Position capacity - 1 exists; after it, a sequence goes on from what is kept."""
    whole = prefill(executable, model.tokens)
    same(whole, model.logits, spared=model.spared(len(whole)))
    kept = executable.keep(len(model.tokens) - 1)
    same(prefill(executable, model.tokens[kept:], start=kept), whole[kept:])
    assert executable.keep(0) == 0
    same(prefill(executable, model.tokens[:5]), whole[:5])


@pytest.mark.parametrize("params", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_decode_draws_what_the_sampler_draws_from_its_own_logits(
    params: SamplingParams, model: TinyModel, executable: RemoteExecutable
) -> None:
    """Also where it samples on the device or submits several tokens at once."""
    prompt, count = list(model.tokens[:20]), 24
    prefill(executable, prompt[:-1])
    found = executable.decode(prompt[-1], 19, count, params=params, history=prompt).tokens
    assert len(found) == count
    executable.keep(0)
    logits = prefill(executable, [*prompt, *found[:-1]])[19:]
    equal = drawn_alike(params, prompt, found, logits, 20)
    assert equal >= count - EDGES, f"{equal} of {count} tokens are what the sampler draws"


def test_decode_may_be_left_at_any_token(model: TinyModel, executable: RemoteExecutable) -> None:
    """The reader stops; `keep` undoes what was computed past it."""
    prompt = list(model.tokens[:20])
    prefill(executable, prompt[:-1])
    whole = executable.decode(prompt[-1], 19, 16, history=prompt).tokens
    assert len(whole) == 16
    for take in (1, 5):
        kept = executable.keep(19)
        if kept < 19:
            prefill(executable, prompt[kept:19], start=kept)
        part = executable.decode(prompt[-1], 19, 16, history=prompt, take=take)
        assert part.tokens == whole[:take]
    kept = executable.keep(20 + 4)
    text = [*prompt, *whole]
    logits = prefill(executable, text[kept:30], start=kept)
    executable.keep(0)
    same(logits, prefill(executable, text[:30])[kept:])
