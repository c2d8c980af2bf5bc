"""Perplexity against sums written out by hand."""

import math

import numpy as np
import pytest

from forge.errors import TextError
from forge.perplexity import perplexity

VOCABULARY = 7


def blocks_of(size, seen):
    """A model whose logits depend on the last token only, in blocks of `size` rows."""
    table = np.random.default_rng(3).normal(0, 2, (VOCABULARY, VOCABULARY)).astype(np.float32)

    def blocks(tokens):
        seen.append(list(tokens))
        rows = table[np.array(tokens)]
        for start in range(0, len(rows), size):
            yield rows[start : start + size]

    return table, blocks


def by_hand(table, windows):
    losses = []
    for window in windows:
        for i in range(len(window) // 2, len(window) - 1):
            row = [math.exp(x) for x in table[window[i]].tolist()]
            losses.append(-math.log(row[window[i + 1]] / sum(row)))
    return math.exp(sum(losses) / len(losses)), len(losses)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_second_half_of_each_full_window_is_scored(size):
    tokens = [int(x) for x in np.random.default_rng(1).integers(0, VOCABULARY, 25)]
    seen: list[list[int]] = []
    table, blocks = blocks_of(size, seen)
    result = perplexity(blocks, tokens, 8)
    expected, scored = by_hand(table, [tokens[0:8], tokens[8:16], tokens[16:24]])
    assert result.perplexity == pytest.approx(expected, rel=1e-6)
    assert result.scored == scored
    assert [len(window) for window in seen] == [8, 8, 8]


def test_each_window_begins_with_bos_if_there_is_one():
    seen: list[list[int]] = []
    _, blocks = blocks_of(4, seen)
    perplexity(blocks, [1, 2, 3, 4, 5, 6], 3, bos=0)
    assert seen == [[0, 2, 3], [0, 5, 6]]


def test_a_text_shorter_than_a_window_is_one_window():
    seen: list[list[int]] = []
    _, blocks = blocks_of(4, seen)
    assert perplexity(blocks, [1, 2, 3, 4], 512).window == 4


def test_a_single_token_cannot_be_scored():
    with pytest.raises(TextError, match="at least 2 tokens"):
        perplexity(blocks_of(1, [])[1], [1])
