"""Rows that no honest device computes are refused; a little of the others is remembered."""

from __future__ import annotations

import numpy as np
import pytest

from forge.errors import BackendWrong
from forge.sampling import SamplingParams
from forge.worker.watched import Glimpse, WatchedSampler

GREEDY = SamplingParams(temperature=0)
ROW = np.random.default_rng(0).standard_normal(3000).astype(np.float32)


def two_numbers(size: int) -> np.ndarray:
    return np.where(np.arange(size) % 2, 0.25, 0.5).astype(np.float32)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (np.full(3000, 7.5, np.float32), "7.5 as every one of its 3000"),
        (two_numbers(3000), "0.25 or 0.5 as every one of its 3000"),
        (two_numbers(64), "0.25 or 0.5"),
        (np.full(2, 1.0, np.float32), "1.0 as every one of its 2"),
        (np.where(np.arange(3000) == 2999, np.nan, ROW), "nan"),
        (np.where(np.arange(3000) == 1, np.inf, ROW), "inf"),
    ],
    ids=["one", "two", "two-of-few", "pair", "nan", "inf"],
)
def test_a_row_that_no_device_in_order_computes_is_refused(row, words):
    with pytest.raises(BackendWrong, match=words):
        WatchedSampler(GREEDY).sample(row, 5)


@pytest.mark.parametrize(
    "row",
    [
        np.array([1, 2], np.float32),
        np.array([1, 2, 1, 2, 2], np.float32),
        np.where(np.arange(3000) == 1234, 1.0, two_numbers(3000)).astype(np.float32),
        np.where(np.arange(3000) < 2000, 0.0, ROW).astype(np.float32),  # tokens that nobody trained
    ],
    ids=["two-columns", "five-columns", "three-numbers", "padded"],
)
def test_a_row_that_is_only_unusual_is_drawn_from(row):
    assert WatchedSampler(GREEDY).sample(row, 5) == row.argmax()


def test_candidates_that_are_alike_are_refused_unless_they_are_few():
    params = SamplingParams(temperature=1, top_k=40, seed=1)
    with pytest.raises(BackendWrong, match=r"2\.0 as every one of its 40"):
        WatchedSampler(params).sample_from(np.arange(40), np.full(40, 2.0, np.float32), 1)
    tied = SamplingParams(temperature=1, top_k=2, seed=1)
    sampler = WatchedSampler(tied)
    assert sampler.sample_from(np.array([3, 9]), np.full(2, 2.0, np.float32), 1) in (3, 9)


def test_what_was_drawn_and_heard_is_known_by_position():
    sampler = WatchedSampler(GREEDY)
    whole = sampler.sample(ROW, 5)
    few = sampler.sample_from(np.array([11, 17]), np.array([1, 2], np.float32), 6)
    assert (sampler.drew(5), sampler.drew(6), sampler.drew(7)) == (whole, few, None)
    assert few == 17
    assert sampler.heard(5).distance(ROW) == 0
    assert sampler.heard(6).ids.tolist() == [11, 17]
    for position in range(7, 200):
        sampler.sample(ROW, position)
    assert sampler.heard(6) is None
    assert sampler.drew(199) == whole


def test_a_row_that_comes_twice_is_pointed_out_and_drawn_from():
    sampler = WatchedSampler(GREEDY)
    sampler.sample(ROW, 5)
    sampler.sample(ROW + np.float32(1), 6)
    assert not sampler.repeated
    assert sampler.sample(ROW + np.float32(1), 7) == ROW.argmax()
    assert sampler.repeated


def test_a_glimpse_is_of_the_row_as_it_was():
    row = ROW.copy()
    glimpse = Glimpse.of(row)
    row += 100
    assert glimpse.distance(ROW) == 0
    assert glimpse.distance(np.roll(ROW, 1)) > 0.5
    assert len(glimpse.ids) <= 256
    assert Glimpse.of(ROW[:200]).ids.tolist() == list(range(200))
