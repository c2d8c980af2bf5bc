"""The largest logits as the device finds them, and what it says of logits that no model makes."""

from __future__ import annotations

import numpy as np
import pytest
from tests.backends.vulkan.ops.stage import ROOM, Stage

from forge.backend import BackendWrong
from forge_gpu.steps import sampling
from forge_gpu.tape import CHUNK, HEADER, REACH, ROWS

RANDOM = np.random.default_rng(3)
WIDTHS = [2, 3, 255, 256, 257, 1000, 4097, 70_001]


class Search:
    """A recorded search of one row of logits, replayed for others."""

    def __init__(self, stage: Stage, width: int, wanted: int = 0, **how) -> None:
        self.stage = stage
        self.logits = stage.rows(width, ROWS, most=1)
        size = sampling.candidates_scratch_bytes(width) if wanted else 0
        scratch = stage.room(size or sampling.greedy_scratch_bytes())
        scratch.view()[:] = 0
        self.result = stage.room(sampling.CANDIDATE_BYTES if wanted else 4 * sampling.GREEDY_BYTES)
        if wanted:
            self.recording = stage.record(
                lambda tape: sampling.candidates(
                    tape, self.logits, self.result, scratch, wanted=wanted
                )
            )
        else:
            self.recording = stage.record(
                lambda tape: sampling.greedy(tape, self.logits, self.result, scratch, **how)
            )

    def run(self, logits) -> np.ndarray:
        self.logits.region.view(np.float32)[:] = logits
        self.stage.queue.run([self.recording])
        return self.result.view()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_largest_logit_is_found_wherever_it_is(stage: Stage, width):
    search = Search(stage, width)
    stage.set(1, [0])
    for at in {0, width // 2, width - 1}:
        logits = RANDOM.standard_normal(width, np.float32) - 10
        assert sampling.greedy_token(search.run(logits)) == logits.argmax()
        logits[at] = 3
        assert sampling.greedy_token(search.run(logits)) == at


@pytest.mark.parametrize("width", WIDTHS[3:])
def test_the_first_of_equal_logits_is_taken(stage: Stage, width):
    search = Search(stage, width)
    for _ in range(3):
        logits = RANDOM.integers(-3, 1, width).astype(np.float32)
        logits[logits == 0] *= RANDOM.choice([-1.0, 1.0], np.count_nonzero(logits == 0))
        assert sampling.greedy_token(search.run(logits)) == logits.argmax()
    logits[:] = -np.inf
    logits[width - 2 :] = -1e30
    assert sampling.greedy_token(search.run(logits)) == width - 2


@pytest.mark.parametrize("wanted", [0, 40])
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, 1e30])
def test_one_logit_that_no_model_makes_is_told(stage: Stage, bad, wanted):
    search = Search(stage, 1000, wanted)
    find = sampling.found_candidates if wanted else sampling.greedy_token
    for at in (0, 500, 999):
        logits = RANDOM.standard_normal(1000, np.float32)
        find(search.run(logits))
        logits[at] = bad
        with pytest.raises(BackendWrong, match=r"as one of its logits"):
            find(search.run(logits))


@pytest.mark.parametrize("width", [1000, 70_001])
@pytest.mark.parametrize("wanted", [0, 40])
@pytest.mark.parametrize("constant", [0.0, 2.5, -np.inf])
def test_logits_that_are_all_alike_are_told(stage: Stage, constant, width, wanted):
    search = Search(stage, width, wanted)
    find = sampling.found_candidates if wanted else sampling.greedy_token
    with pytest.raises(BackendWrong, match=r"as every one of its logits"):
        find(search.run(np.full(width, constant)))


def test_the_next_step_is_set_up_with_the_token_found(stage: Stage):
    search = Search(stage, 300, onward=True, place=2)
    stage.set(1, [41], [3])
    logits = RANDOM.standard_normal(300, np.float32)
    token = sampling.greedy_token(search.run(logits), 2)
    words = stage.frame.view(np.int32)
    assert token == logits.argmax()
    assert words[HEADER] == token
    assert words[HEADER + ROOM] == 42
    assert words[HEADER + 2 * ROOM] == 3
    assert (words[REACH], words[CHUNK]) == (43, ROOM)
    untouched = search.result.view(np.uint32)[[0, 1, 2, 3, 4, 5, 9, 10, 11]]
    assert (untouched == 0xFFFFFFFF).all()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("wanted", [1, 40, 256])
def test_candidates_are_the_largest_and_some_more(stage: Stage, width, wanted):
    search = Search(stage, width, wanted)
    for _ in range(3):
        logits = 5 * RANDOM.standard_normal(width, np.float32)
        found = sampling.found_candidates(search.run(logits))
        assert found is not None
        assert (np.diff(found.ids) > 0).all()
        assert (logits[found.ids] == found.logits).all()
        largest = np.sort(logits)[::-1][:wanted]
        assert (np.sort(found.logits)[::-1][: len(largest)] == largest).all()
        assert width <= 4 * wanted or len(found.ids) < 40 + 3 * wanted


def test_of_many_equal_candidates_none_is_left_out_or_the_host_reads_all(stage: Stage):
    search = Search(stage, 70_001, 40)
    logits = np.full(70_001, -1.0, np.float32)
    logits[RANDOM.permutation(70_001)[: sampling.ROOM]] = 7
    found = sampling.found_candidates(search.run(logits))
    assert found is not None
    assert (found.ids == np.flatnonzero(logits == 7)).all()
    logits[np.flatnonzero(logits < 7)[0]] = 7
    assert sampling.found_candidates(search.run(logits)) is None
