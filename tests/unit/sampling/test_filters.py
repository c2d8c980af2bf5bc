"""Each filter against its definition, written out slowly in Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.sampling import filters

# Quarters make ties frequent; a few thousand values reach the folded search of the larger sizes.
quarters = st.integers(-40, 40).map(lambda v: v / 4)
rows = st.lists(quarters, min_size=1, max_size=60)
shares = st.floats(0.01, 0.99)


def logits_of(values: list[float]) -> filters.Floats:
    return np.array(values, np.float32)


def softmax(logits: filters.Floats) -> list[float]:
    largest = float(logits.max())
    weights = [math.exp(float(v) - largest) for v in logits]
    total = math.fsum(weights)
    return [w / total for w in weights]


def best_first(scores: list[float]) -> list[int]:
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))


@given(rows, st.integers(1, 70))
def test_top_k_keeps_the_k_largest_and_of_equals_the_lowest_ids(
    values: list[float], k: int
) -> None:
    assert filters.top_k(logits_of(values), k).tolist() == sorted(best_first(values)[:k])


@pytest.mark.parametrize("k", [1, 40, 1000, 19_999])
@pytest.mark.parametrize("levels", [3, 1000, 10**9])
def test_top_k_of_a_large_vocabulary_is_the_sorted_one(k: int, levels: int) -> None:
    rng = np.random.default_rng(k + levels)
    logits = rng.integers(0, levels, 20_000).astype(np.float32)
    expected = np.sort(np.argsort(-logits, kind="stable")[:k])
    np.testing.assert_array_equal(filters.top_k(logits, k), expected)


@given(rows, shares)
def test_top_p_keeps_the_token_that_reaches_the_mass_and_none_after(
    values: list[float], p: float
) -> None:
    logits = logits_of(values)
    kept = filters.top_p(logits, p)
    order, chances = best_first(values), softmax(logits)
    assert kept.tolist() == sorted(order[: kept.size])
    mass = math.fsum(chances[i] for i in order[: kept.size])
    assert mass >= p - 1e-6 or kept.size == len(values)
    assert math.fsum(chances[i] for i in order[: kept.size - 1]) < p + 1e-6


def test_top_p_of_equal_tokens_is_not_off_by_rounding() -> None:
    assert filters.top_p(np.zeros(10, np.float32), 0.9).tolist() == list(range(9))


@pytest.mark.parametrize("p", [0.3, 0.9, 0.999, 0.9999999])
def test_top_p_widens_its_search_until_the_mass_is_there(p: float) -> None:
    logits = np.random.default_rng(3).normal(0, 2, 30_000).astype(np.float32)
    kept = filters.top_p(logits, p)
    chances = np.sort(softmax(logits))[::-1]
    expected = int(np.searchsorted(np.cumsum(chances), p)) + 1
    assert abs(kept.size - expected) <= 2 + expected // 1000


@given(rows, shares)
def test_typical_keeps_the_nearest_to_the_entropy_until_their_mass_exceeds_p(
    values: list[float], p: float
) -> None:
    logits = logits_of(values)
    chances = softmax(logits)
    entropy = -math.fsum(c * math.log(c) for c in chances)
    distance = [abs(-math.log(c) - entropy) for c in chances]
    kept = filters.typical_p(logits, p).tolist()
    farthest_kept = max(distance[i] for i in kept)
    dropped = [i for i in range(len(values)) if i not in kept]
    assert all(distance[i] >= farthest_kept - 1e-4 for i in dropped)
    mass = math.fsum(chances[i] for i in kept)
    assert mass > p - 1e-6 or not dropped
    farthest = min(chances[i] for i in kept if distance[i] >= farthest_kept - 1e-4)
    assert mass - farthest <= p + 1e-6


def test_typical_drops_a_token_that_says_too_little() -> None:
    logits = np.log(np.array([0.4, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1], np.float32))
    # The entropy is 1.75 nats; a tenth carries 2.30, which is nearer than the 0.92 of the first.
    assert filters.typical_p(logits, 0.45).tolist() == [1, 2, 3, 4, 5]


def test_typical_must_exceed_the_mass_that_top_p_need_only_reach() -> None:
    equal = np.zeros(4, np.float32)
    assert filters.typical_p(equal, 0.5).tolist() == [0, 1, 2]
    assert filters.top_p(equal, 0.5).tolist() == [0, 1]


@given(rows, shares)
def test_min_p_keeps_what_is_that_likely_beside_the_likeliest(
    values: list[float], p: float
) -> None:
    kept = set(filters.min_p(logits_of(values), p).tolist())
    for i, value in enumerate(values):
        ratio = math.exp(value - max(values))
        if abs(ratio - p) > 1e-5 * p:
            assert (i in kept) == (ratio > p)


def test_penalties_divide_positive_and_multiply_negative_logits() -> None:
    logits = np.array([2.0, -2.0, 0.0, 3.0], np.float32)
    ids, counts = np.array([0, 1, 2]), np.array([1, 3, 1], np.float32)
    after = filters.penalised(logits, ids, counts, repeat=2.0, presence=0.25, frequency=0.5)
    assert after.tolist() == [0.25, -5.75, -0.75, 3.0]
    assert logits.tolist() == [2.0, -2.0, 0.0, 3.0]


@given(rows, st.floats(1e-6, 1e6))
def test_probabilities_sum_to_one_at_any_temperature(
    values: list[float], temperature: float
) -> None:
    chances = filters.probabilities(logits_of(values), temperature)
    assert chances.sum() == pytest.approx(1.0)
    assert (np.diff(chances[np.argsort(values)]) >= 0).all()
