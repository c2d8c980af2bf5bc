"""Experts: whom a token goes to, with what weight, and the way there and back."""

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from forge_cpu.crew import Crew
from forge_cpu.library import Library
from forge_cpu.program import Program
from forge_cpu.steps import GATINGS, Choices, add_combine, add_gather, add_route

TOKENS, EXPERTS, USED, COLUMNS = 37, 13, 4, 21


@pytest.fixture(scope="module")
def crew(library: Library) -> Iterator[Crew]:
    made = Crew(library, 3)
    yield made
    made.close()


def expected(
    scores: NDArray[np.float64], gating: str, normalize: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """By the definitions, in float64."""
    chosen = np.argsort(-scores, axis=1, kind="stable")[:, :USED]
    raw = np.take_along_axis(scores, chosen, 1)
    if gating == "sigmoid":
        weights = 1 / (1 + np.exp(-raw))
    else:
        below = scores if gating == "softmax" else raw
        weights = np.exp(raw) / np.exp(below).sum(axis=1, keepdims=True)
    return chosen, weights / weights.sum(axis=1, keepdims=True) if normalize else weights


@pytest.mark.parametrize("gating", GATINGS)
@pytest.mark.parametrize("normalize", [True, False])
def test_the_best_are_chosen_and_weighed(
    gating: str, normalize: bool, library: Library, crew: Crew
) -> None:
    scores = np.random.default_rng(3).standard_normal((TOKENS, EXPERTS)).astype(np.float32) * 3
    scores[5, 2:9] = scores[5, 1]  # among equals the lower numbers are taken
    choices, program = Choices.of(TOKENS, EXPERTS, USED), Program(library)
    tokens = np.array([TOKENS])
    add_route(program, tokens, scores, choices, gating=gating, normalize=normalize, factor=2.5)
    crew.run(program)
    chosen, weights = expected(scores.astype(np.float64), gating, normalize)
    np.testing.assert_array_equal(choices.chosen, chosen)
    np.testing.assert_allclose(choices.weights, 2.5 * weights, rtol=1e-6)


def test_rows_go_to_their_experts_and_come_back(library: Library, crew: Crew) -> None:
    random = np.random.default_rng(4)
    scores = random.standard_normal((TOKENS, EXPERTS)).astype(np.float32)
    scores[:, 6] = -100  # an expert whom nobody wants
    x = random.standard_normal((TOKENS, COLUMNS)).astype(np.float32)
    gathered, out = np.zeros((TOKENS * USED, COLUMNS), np.float32), np.full_like(x, np.nan)
    choices, tokens = Choices.of(TOKENS, EXPERTS, USED), np.array([TOKENS])
    there, back = Program(library), Program(library)
    add_route(there, tokens, scores, choices)
    add_gather(there, tokens, choices, x, gathered)
    add_combine(back, tokens, choices, gathered, out)
    crew.run(there)
    truth = np.zeros_like(x)
    busy = choices.busy[: choices.count[0]].tolist()
    assert busy == [e for e in range(EXPERTS) if (choices.chosen == e).any()]
    assert 6 not in busy
    for number, expert in enumerate(busy):
        rows = slice(choices.starts[number], choices.starts[number + 1])
        row, place = np.nonzero(choices.chosen == expert)
        np.testing.assert_array_equal(gathered[rows], x[row])
        truth[row] += x[row] * (expert + 1) * choices.weights[row, place, None]
        gathered[rows] *= expert + 1
    assert choices.starts[0] == 0
    assert choices.starts[len(busy)] == choices.rows[0] == TOKENS * USED
    crew.run(back)
    np.testing.assert_allclose(out, truth, rtol=1e-5, atol=1e-6)


def test_a_token_without_a_score_shows_it_and_disturbs_no_other(
    library: Library, crew: Crew
) -> None:
    scores = np.random.default_rng(5).standard_normal((TOKENS, EXPERTS)).astype(np.float32)
    clean, broken = Choices.of(TOKENS, EXPERTS, USED), Choices.of(TOKENS, EXPERTS, USED)
    for choices in (clean, broken):
        program = Program(library)
        add_route(program, np.array([TOKENS]), scores, choices)
        crew.run(program)
        scores = scores.copy()
        scores[7] = np.nan
    assert np.isnan(broken.weights[7]).all()
    assert len({*broken.chosen[7].tolist()} & {*range(EXPERTS)}) == USED
    others = np.arange(TOKENS) != 7
    np.testing.assert_array_equal(broken.weights[others], clean.weights[others])
