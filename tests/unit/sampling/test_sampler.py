"""The sampler: its chain against llama.cpp's answers, its draw, its window and its refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.errors import BackendWrong, UsageError
from forge.sampling import Sampler, SamplingParams
from forge.sampling.sampler import draw

# What llama.cpp v0.5.0's own samplers (bias, penalties, top-k, typical, top-p, min-p, temperature,
# dist; with min_keep 1, as good as 0) left of these logits, tokens of probability 0 omitted.
CASES = json.loads(Path(__file__).with_name("llamacpp.json").read_text())
OPEN: dict[str, Any] = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}
ROW = np.random.default_rng(5).normal(0, 2, 500).astype(np.float32)


@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(sorted(c["params"])) or "defaults")
def test_the_chain_keeps_what_llama_cpp_keeps(case: dict[str, Any]) -> None:
    sampler = Sampler(SamplingParams.from_dict({"seed": 0, **case["params"]}), case["history"])
    ids, chances = sampler.probabilities(np.array(case["logits"], np.float32))
    assert ids.tolist() == case["ids"]
    np.testing.assert_allclose(chances, case["probabilities"], rtol=1e-5, atol=1e-7)


def test_greedy_takes_the_largest_and_of_equals_the_lowest_id() -> None:
    logits = np.array([0.0, 3.0, 1.0, 3.0], np.float32)
    assert Sampler(SamplingParams(temperature=0)).sample(logits, 0) == 1
    assert Sampler(SamplingParams(temperature=0, logit_bias={3: 0.5})).sample(logits, 0) == 3
    assert Sampler(SamplingParams(temperature=0, repeat_penalty=4.0), [1, 3]).sample(logits, 0) == 2


@pytest.mark.parametrize("params", [{}, {"temperature": 0}, {"repeat_penalty": 1.3}])
def test_sampling_changes_neither_the_logits_nor_the_sampler(params: dict[str, Any]) -> None:
    row = ROW.copy()
    row.flags.writeable = False
    sampler = Sampler(SamplingParams(seed=3, logit_bias={4: -math.inf}, **params), range(40))
    assert len({sampler.sample(row, 17) for _ in range(5)}) == 1


def test_a_resumed_reply_draws_what_it_would_have_drawn() -> None:
    params = SamplingParams(seed=9, temperature=2.0, top_k=0, frequency_penalty=0.5)
    rows = np.random.default_rng(1).normal(0, 2, (60, 300)).astype(np.float32)
    tokens = [1, 2, 3]

    def reply(history: list[int], length: int) -> list[int]:
        sampler, out = Sampler(params, history), list(history)
        while len(out) < length:
            out.append(sampler.sample(rows[len(out)], len(out)))
            sampler.accept(out[-1])
        return out

    whole = reply(tokens, 60)
    assert len(set(whole)) > 30
    assert reply(whole[:31], 60) == whole


def test_the_window_includes_the_prompt_and_forgets_what_left_it() -> None:
    params = SamplingParams(temperature=0, presence_penalty=100.0, penalty_window=2)
    logits = np.array([3.0, 2.0, 1.0], np.float32)
    sampler = Sampler(params, [0, 1])
    assert sampler.sample(logits, 2) == 2
    sampler.accept(2)
    assert sampler.sample(logits, 3) == 0


@given(st.lists(st.integers(0, 9), max_size=30), st.integers(-1, 8), st.integers(0, 30))
def test_accepting_tokens_equals_having_them_in_the_history(
    tokens: list[int], window: int, cut: int
) -> None:
    params = SamplingParams(seed=1, frequency_penalty=0.7, penalty_window=window, **OPEN)
    stepped = Sampler(params, tokens[:cut])
    for token in tokens[cut:]:
        stepped.accept(token)
    for one, other in zip(
        stepped.probabilities(ROW), Sampler(params, tokens).probabilities(ROW), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_a_banned_token_is_never_drawn() -> None:
    logits = np.array([9.0, 0.0, 0.0, -np.inf], np.float32)
    sampler = Sampler(SamplingParams(seed=2, logit_bias={0: -math.inf}, **OPEN))
    assert {sampler.sample(logits, at) for at in range(100)} == {1, 2}
    assert sampler.probabilities(logits)[0].tolist() == [1, 2]


def test_a_penalised_id_beyond_the_vocabulary_is_passed_over() -> None:
    sampler = Sampler(SamplingParams(temperature=0, repeat_penalty=2.0), [700, 3])
    assert sampler.sample(ROW, 2) == int(ROW.argmax())


@pytest.mark.parametrize("everything", [False, True])
def test_tokens_are_drawn_as_often_as_their_probability_says(everything: bool) -> None:
    extra: dict[str, Any] = {"typical_p": 0.9, "repeat_penalty": 1.2} if everything else OPEN
    sampler = Sampler(SamplingParams(seed=42, temperature=1.3, **extra), range(10))
    row = ROW[:60]
    ids, chances = sampler.probabilities(row)
    draws = 20_000
    counts = np.bincount([sampler.sample(row, at) for at in range(draws)], minlength=60)
    assert counts[ids].sum() == draws
    expected = chances * draws
    statistic = ((counts[ids] - expected) ** 2 / expected).sum()
    freedom = ids.size - 1
    assert statistic < freedom + 4 * math.sqrt(2 * freedom)  # four standard deviations


@pytest.mark.parametrize(
    ("chances", "number", "index"),
    [
        ([0.25, 0.25, 0.25, 0.25], 0.0, 0),
        ([0.25, 0.25, 0.25, 0.25], 0.25, 1),
        ([0.25, 0.25, 0.25, 0.25], math.nextafter(0.25, 0), 0),
        ([0.0, 0.5, 0.5], 0.0, 1),
        ([0.5, 0.5, 0.0], 1 - 2**-53, 1),
    ],
)
def test_a_draw_at_a_boundary_belongs_to_the_next_token_that_has_a_chance(
    chances: list[float], number: float, index: int
) -> None:
    assert draw(np.array(chances), number) == index


def test_a_hair_of_difference_in_the_logits_moves_almost_no_draw() -> None:
    # Among 400 nearly equal tokens such noise changes the order by probability at many places.
    row = np.random.default_rng(8).normal(0, 1e-5, 400).astype(np.float32)
    noise = np.random.default_rng(9).normal(0, 1e-5, 400).astype(np.float32)
    sampler = Sampler(SamplingParams(seed=6, **OPEN))
    changed = sum(sampler.sample(row, at) != sampler.sample(row + noise, at) for at in range(1000))
    assert changed <= 5


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize(
    ("bad", "named"),
    [([0.0, math.nan, 1.0], "nan"), ([0.0, math.inf], "inf"), ([-math.inf] * 3, "-inf")],
)
def test_logits_that_are_no_numbers_blame_the_backend(
    bad: list[float], named: str, temperature: float
) -> None:
    with pytest.raises(BackendWrong, match=named):
        Sampler(SamplingParams(temperature=temperature)).sample(np.array(bad, np.float32), 0)


def test_a_call_that_cannot_be_meant_is_refused() -> None:
    logits = np.zeros(3, np.float32)
    with pytest.raises(UsageError, match="token 3; the vocabulary has 3"):
        Sampler(SamplingParams(logit_bias={3: 1.0})).sample(logits, 0)
    with pytest.raises(UsageError, match="bans every token"):
        Sampler(SamplingParams(logit_bias=dict.fromkeys(range(3), -math.inf))).sample(logits, 0)
    with pytest.raises(UsageError, match="shape"):
        Sampler(SamplingParams()).sample(logits[None], 0)
    with pytest.raises(UsageError, match="position"):
        Sampler(SamplingParams()).sample(logits, -1)


any_logits = st.lists(
    st.floats(-(2.0**99), 2.0**99, width=32) | st.just(-math.inf), min_size=1, max_size=50
).filter(lambda row: max(row) > -math.inf)


@given(
    any_logits,
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1),
    st.just(0.0) | st.floats(1e-6, 1e6),
)
def test_any_logits_and_settings_give_a_token_that_was_possible(
    row: list[float], top_p: float, min_p: float, typical_p: float, temperature: float
) -> None:
    params = SamplingParams(
        seed=1, temperature=temperature, top_p=top_p, min_p=min_p, typical_p=typical_p, top_k=9
    )
    sampler = Sampler(params)
    logits = np.array(row, np.float32)
    ids, chances = sampler.probabilities(logits)
    token = sampler.sample(logits, 3)
    assert logits[token] > -np.inf
    assert chances[ids.tolist().index(token)] > 0
    assert chances.sum() == pytest.approx(1.0)
    assert (np.diff(ids) > 0).all()
