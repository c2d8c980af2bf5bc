"""What is learned of the time that pieces of work take."""

from __future__ import annotations

import random

import pytest

from forge.paces import BINS, Paces, bucket
from forge.state import BINS as STORED_BINS


def test_the_99th_percentile_is_known_to_a_third():
    numbers = random.Random(1)
    paces = Paces()
    seconds = [numbers.lognormvariate(-4, 0.7) for _ in range(1000)]
    for one in seconds:
        paces.saw("decode", 1e9, one)
    true = sorted(seconds)[990]
    assert true / 1.1 <= paces.p99("decode", 1e9) <= true * 1.4


def test_one_outlier_of_many_is_forgotten_and_one_of_few_is_not():
    paces = Paces()
    paces.saw("decode", 1, 5.0)
    for _ in range(20):
        paces.saw("decode", 1, 0.01)
    assert paces.p99("decode", 1) >= 5
    for _ in range(200):
        paces.saw("decode", 1, 0.01)
    assert paces.p99("decode", 1) < 0.02


def test_what_was_seen_long_ago_fades():
    paces = Paces()
    paces.saw("prefill", 1, 8.0, 500)
    paces.saw("prefill", 1, 0.1, 8000)
    assert paces.p99("prefill", 1) < 0.2


def test_work_that_is_new_is_judged_by_the_nearest_in_proportion_where_that_is_less():
    paces = Paces()
    assert paces.p99("decode", 4e9) is None
    paces.saw("decode", 1e9, 0.02)
    known = paces.p99("decode", 1e9)
    assert paces.p99("decode", 4e9) == pytest.approx(4 * known)
    assert paces.p99("decode", 1e6) == known  # a smaller one is no reason to be hasty
    assert paces.p99("prefill", 1e9) is None


def test_times_out_of_all_bounds_have_a_bin():
    paces = Paces()
    for seconds in (0.0, -1.0, 1e-9, 1e9):
        paces.saw("load", 0, seconds)
    assert 0 < paces.p99("load", 0) < 1e5
    assert bucket(0) == bucket(1) == 0


def test_what_was_taken_is_new_once_and_known_for_ever():
    paces = Paces({("open", 0): [0.0] * 10 + [3.0] + [0.0] * 53})
    paces.saw("open", 1, 0.5)
    new = paces.take()
    assert list(new) == [("open", 0)]
    assert sum(new["open", 0]) == 1
    assert paces.take() == {}
    again = Paces(new)
    assert again.p99("open", 1) == pytest.approx(0.5, rel=0.4)


def test_the_ledger_keeps_as_many_bins():
    assert STORED_BINS == BINS
