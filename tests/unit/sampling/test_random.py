"""The random stream: published answers, and no pattern."""

from __future__ import annotations

import numpy as np
import pytest

from forge.sampling.random import philox4x32, uniform

ALL = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # examples/kat_vectors of Random123, lines "philox4x32 10"
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((ALL, ALL, ALL, ALL), (ALL, ALL), "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_published_words(
    counter: tuple[int, int, int, int], key: tuple[int, int], words: str
) -> None:
    assert " ".join(f"{w:08x}" for w in philox4x32(counter, key)) == words


def test_neighbouring_seeds_and_positions_share_nothing() -> None:
    numbers = np.array([[uniform(seed, at) for at in range(64)] for seed in range(64)])
    assert np.unique(numbers).size == numbers.size
    assert ((numbers >= 0) & (numbers < 1)).all()
    for lagged in (numbers[:, 1:], numbers[1:, :]):
        first = numbers[: lagged.shape[0], : lagged.shape[1]]
        assert abs(np.corrcoef(first.ravel(), lagged.ravel())[0, 1]) < 0.05


def test_large_seeds_and_positions_count_in_full() -> None:
    assert uniform(2**63, 5) != uniform(0, 5)
    assert uniform(1, 2**40) != uniform(1, 0)


def test_the_numbers_fill_the_interval_evenly() -> None:
    counts = np.histogram([uniform(11, at) for at in range(10_000)], bins=50, range=(0, 1))[0]
    # 49 degrees of freedom: one stream in a thousand exceeds 85.4.
    assert ((counts - 200) ** 2 / 200).sum() < 85.4
