"""However a prompt is cut up, cached, staged or batched, its logits stay the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forge.backend import BackendConfig, Executable
from forge.errors import ContextOverflow, GraphError
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.sampling import SamplingParams
from forge.testing import write_tiny
from forge.weights import Weights
from forge.worker.model import LoadedModel
from forge.worker.watched import WatchedSampler
from forge_cpu.plain import NumpyBackend

Array = np.ndarray[Any, Any]
Load = Callable[..., Executable]
Evaluate = Callable[..., Array]

TOLERANCE = 2e-4
"""Between logits of a standard deviation of 2.5: BLAS sums other shapes in another order."""
ARCHITECTURES = ["llama", "qwen2", "qwen3", "gemma3", "gpt-oss", "granitemoe", "gpt2"]
TOKENS = np.random.default_rng(0).integers(0, 256, 50).tolist()


@pytest.fixture(params=ARCHITECTURES)
def tiny(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return write_tiny(tmp_path / "m.gguf", request.param, layers=3, context=128)


def same(one: Array, other: Array) -> None:
    assert one.shape == other.shape
    np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE)


def loaded(executable: Executable) -> LoadedModel:
    return LoadedModel(executable, 64, [])


def prefilled(model: LoadedModel, tokens: list[int], rows: Any = "all") -> Array:
    return np.concatenate([logits for _, logits in model.prefill(tokens, rows)])


@pytest.mark.parametrize("chunk", [1, 7, 16, 49])
def test_chunks_of_a_prompt_equal_the_whole(
    chunk: int, tiny: Path, load: Load, evaluate: Evaluate
) -> None:
    whole = evaluate(load(tiny), TOKENS)
    executable = load(tiny)
    parts = [
        evaluate(executable, TOKENS[start : start + chunk], start)
        for start in range(0, len(TOKENS), chunk)
    ]
    same(np.concatenate(parts), whole)


@pytest.mark.parametrize("chunk", [1, 7, 16])
def test_a_loaded_model_prefills_in_its_executables_chunks(
    chunk: int, tiny: Path, load: Load, evaluate: Evaluate
) -> None:
    whole = evaluate(load(tiny), TOKENS)
    executable = load(tiny)
    executable.chunk = chunk
    model = loaded(executable)
    steps = list(model.prefill(TOKENS))
    assert [done for done, _ in steps] == [*range(chunk, len(TOKENS), chunk), len(TOKENS)]
    assert [len(rows) for _, rows in steps] == [0] * (len(steps) - 1) + [1]
    same(steps[-1][1], whole[-1:])
    model.forget()
    same(prefilled(model, TOKENS), whole)


def test_only_the_rows_asked_for_are_computed(tiny: Path, load: Load, evaluate: Evaluate) -> None:
    whole = evaluate(load(tiny), TOKENS)
    for rows, expected in (
        ("last", whole[-1:]),
        ("none", whole[:0]),
        ([3, 17, 4], whole[[3, 17, 4]]),
    ):
        same(evaluate(load(tiny), TOKENS, rows=rows), expected)


@pytest.mark.parametrize("shared", [0, 1, 7, 33, 49, 50])
def test_a_kept_prefix_answers_as_a_fresh_cache_does(
    shared: int, tiny: Path, load: Load, evaluate: Evaluate
) -> None:
    other = [(token + 1) % 256 for token in TOKENS]
    model = loaded(load(tiny))
    prefilled(model, [*TOKENS[:shared], *other[shared:], 5, 6])
    kept = model.reuse(TOKENS)
    assert kept == min(shared, len(TOKENS) - 1)
    same(prefilled(model, TOKENS), evaluate(load(tiny), TOKENS)[kept:])


def test_a_longer_cached_prompt_serves_its_own_beginning(
    tiny: Path, load: Load, evaluate: Evaluate
) -> None:
    model = loaded(load(tiny))
    prefilled(model, TOKENS)
    assert model.reuse(TOKENS[:20]) == 19
    same(prefilled(model, TOKENS[:20]), evaluate(load(tiny), TOKENS[:20])[-1:])
    assert model.reuse(TOKENS) == 20
    same(prefilled(model, TOKENS), evaluate(load(tiny), TOKENS)[20:])


def test_a_reply_follows_the_largest_logits_and_is_itself_a_prefix(
    tiny: Path, load: Load, evaluate: Evaluate
) -> None:
    greedy = SamplingParams(temperature=0)
    model = loaded(load(tiny))
    reply = list(model.generate(TOKENS[:20], 12, [], WatchedSampler(greedy), lambda _: None))
    assert reply[-1] == "length"
    told = [token for token in reply if isinstance(token, int)]
    assert len(told) == 12
    whole = evaluate(load(tiny), [*TOKENS[:20], *told])
    for at, token in enumerate(told):
        row = whole[19 + at]
        assert row[token] >= row.max() - TOLERANCE
    assert model.reuse([*TOKENS[:20], *told]) == 31
    more = prefilled(model, [*TOKENS[:20], *told, 9])
    same(more[-1:], evaluate(load(tiny), [*TOKENS[:20], *told, 9])[-1:])


def test_a_context_can_be_filled_to_its_last_token(
    tiny: Path, load: Load, evaluate: Evaluate
) -> None:
    prompt = [*TOKENS, *TOKENS[:13]]
    model = loaded(load(tiny, context=64))
    model.check_room(prompt, reply=1)
    reply = list(
        model.generate(prompt, 9, [], WatchedSampler(SamplingParams(temperature=0)), lambda _: None)
    )
    assert reply[1:] == ["context"]
    full = [*prompt, 3]
    model.check_room(full, reply=0)
    same(evaluate(load(tiny, context=64), full), evaluate(load(tiny, context=128), full))
    with pytest.raises(ContextOverflow, match=r"64 tokens .* 64 tokens"):
        model.check_room(full, reply=1)


def test_stages_chained_equal_the_whole_at_every_layer(tiny: Path, evaluate: Evaluate) -> None:
    with open_gguf(tiny) as file:
        graph = build_graph(file)
        backend = NumpyBackend(BackendConfig(threads=1))

        def made(part: Any) -> Executable:
            return backend.compile(part, Weights(part, file), lambda *_: None)

        whole = evaluate(made(graph), TOKENS)
        for layer in range(4):
            first, second = (made(part) for part in graph.split(layer))
            assert not set(first.graph.state) & set(second.graph.state)
            assert len(first.graph.state) + len(second.graph.state) == len(graph.state)
            (hidden,) = first.outputs
            assert second.inputs == (hidden,)
            out = []
            for start in (0, 20, 49):
                positions = np.arange(start, {0: 20, 20: 49, 49: 50}[start], dtype=np.int32)
                slots = np.zeros_like(positions)
                ids = np.array(TOKENS, np.int32)[positions]
                state = first.run({"tokens": ids}, positions, slots, "all")
                out.append(second.run(state, positions, slots, "all")[graph.outputs[0]])
            same(np.concatenate(out), whole)


@pytest.mark.parametrize("layer", [-1, 4, 99])
def test_a_split_outside_the_layers_is_refused(layer: int, tiny: Path) -> None:
    with open_gguf(tiny) as file, pytest.raises(GraphError, match=f"split at layer {layer}"):
        build_graph(file).split(layer)


def test_sequences_in_one_run_do_not_see_each_other(
    tiny: Path, load: Load, evaluate: Evaluate
) -> None:
    lengths = (17, 1, 9)
    prompts = [TOKENS[i : i + n] for i, n in zip((0, 20, 30), lengths, strict=True)]
    alone = [evaluate(load(tiny), prompt) for prompt in prompts]
    executable = load(tiny, slots=3)
    order = np.random.default_rng(1).permutation(sum(lengths))
    slots = np.repeat(np.arange(3, dtype=np.int32), lengths)[order]
    positions = np.concatenate([np.arange(n, dtype=np.int32) for n in lengths])[order]
    ids = np.concatenate(prompts).astype(np.int32)[order]
    out = executable.run({"tokens": ids}, positions, slots, "all")[executable.outputs[0]]
    for slot, expected in enumerate(alone):
        mine = slots == slot
        same(out[mine][np.argsort(positions[mine])], expected)
    step = evaluate(executable, [7], 17, slots=[0])
    same(step, evaluate(load(tiny), [*prompts[0], 7])[-1:])


def test_a_slot_that_was_cleared_holds_nothing_of_before(
    tiny: Path, load: Load, evaluate: Evaluate
) -> None:
    executable = load(tiny, slots=2)
    evaluate(executable, TOKENS, slots=[1] * 50)
    evaluate(executable, TOKENS[::-1], slots=[0] * 50)
    assert executable.keep(1, 0) == 0
    same(evaluate(executable, TOKENS[3:20], slots=[1] * 17), evaluate(load(tiny), TOKENS[3:20]))
