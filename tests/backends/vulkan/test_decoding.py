"""Recorded steps decode what the contract's own loop decodes, and no further than they may."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pytest
from tests.backends.vulkan.desk import Desk
from tests.backends.vulkan.tiny_models import Counted, Draws, executable, feed, tiny

from forge.backend import BackendError, Executable, SamplingParams
from forge_gpu.executable import GpuExecutable

PROMPT, COUNT = [5, 17, 90, 44, 3], 12
START = len(PROMPT) - 1
GREEDY = SamplingParams(temperature=0)
DRAWN = SamplingParams(temperature=1.2, seed=3, top_k=20)
FLAT = SamplingParams(temperature=1.5, seed=3, top_k=0)
MANY = SamplingParams(temperature=1.5, seed=3, top_k=256)
TOO_MANY = SamplingParams(temperature=1.5, seed=3, top_k=257)
PENALISED = SamplingParams(temperature=0, repeat_penalty=1.3)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("tiny"), quant="f16")


@pytest.fixture
def queue(desk: Desk) -> Iterator[Counted]:
    queue = Counted(desk)
    yield queue
    queue.close()


@pytest.fixture
def made(desk: Desk, path: Path, queue: Counted) -> Iterator[GpuExecutable]:
    made = executable(desk, path, queue=queue)
    yield made
    made.close()


def begin(made: GpuExecutable) -> None:
    made.keep(0, 0)
    feed(made, PROMPT[:-1], rows="none")


def decoded(made: GpuExecutable, params: SamplingParams, count: int = COUNT) -> list[int]:
    begin(made)
    return list(made.decode(PROMPT[-1], START, count, Draws(params, PROMPT)))


def by_default(made: GpuExecutable, params: SamplingParams) -> list[int]:
    begin(made)
    return list(Executable.decode(made, PROMPT[-1], START, COUNT, Draws(params, PROMPT)))


@pytest.mark.parametrize("params", [GREEDY, DRAWN, MANY, TOO_MANY, FLAT, PENALISED])
def test_steps_give_the_tokens_of_the_loop_over_run(
    made: GpuExecutable, params: SamplingParams
) -> None:
    found = decoded(made, params)
    assert found == by_default(made, params)
    assert len({*found}) > 3


@pytest.mark.parametrize(
    ("params", "least", "most"),
    [
        (GREEDY, 1, 1),
        (DRAWN, 20, 299),
        (TOO_MANY, 300, 300),
        (FLAT, 300, 300),
        (PENALISED, 300, 300),
    ],
)
def test_the_host_sees_no_more_logits_than_decide_the_draw(
    made: GpuExecutable, params: SamplingParams, least: int, most: int
) -> None:
    begin(made)
    sampler = Draws(params, PROMPT)
    list(made.decode(PROMPT[-1], START, COUNT, sampler))
    assert len(sampler.rows) == COUNT
    assert all(least <= seen <= most for seen in sampler.rows)


@pytest.mark.parametrize("params", [GREEDY, DRAWN])
@pytest.mark.parametrize("take", range(1, 6))
def test_a_reader_may_stop_anywhere_and_what_follows_is_as_if_it_had_not_run_on(
    made: GpuExecutable, params: SamplingParams, take: int
) -> None:
    whole = decoded(made, params)
    begin(made)
    steps = made.decode(PROMPT[-1], START, COUNT, Draws(params, PROMPT))
    begun = [next(steps) for _ in range(take)]
    steps.close()
    assert begun == whole[:take]
    assert made.keep(0, START + take) == START + take
    more = made.decode(begun[-1], START + take, COUNT - take, Draws(params, [*PROMPT, *begun]))
    assert [*begun, *more] == whole


@pytest.mark.parametrize("count", [1, 2, 3, 7])
@pytest.mark.parametrize("params", [GREEDY, DRAWN])
def test_no_step_is_submitted_past_those_that_were_asked_for(
    made: GpuExecutable, queue: Counted, params: SamplingParams, count: int
) -> None:
    begin(made)
    queue.groups.clear()
    steps = made.decode(PROMPT[-1], START, count, Draws(params, PROMPT))
    assert len(list(steps)) == count
    assert len(queue.groups) == count


def test_a_context_is_decoded_to_its_very_last_position(desk: Desk, path: Path) -> None:
    made = executable(desk, path, context=16)
    found = decoded(made, GREEDY, 16 - START)
    assert len(found) == 16 - START
    assert found[:COUNT] == by_default(made, GREEDY)
    made.close()


def test_greedy_steps_are_submitted_ahead_of_their_reader(
    made: GpuExecutable, queue: Counted
) -> None:
    begin(made)
    queue.groups.clear()
    steps = made.decode(PROMPT[-1], START, COUNT, Draws(GREEDY))
    next(steps)
    assert len(queue.groups) == 2
    steps.close()


@pytest.mark.parametrize("params", [GREEDY, DRAWN])
def test_a_step_after_closing_in_mid_decode_is_an_error(
    desk: Desk, path: Path, params: SamplingParams
) -> None:
    made = executable(desk, path)
    begin(made)
    steps = made.decode(PROMPT[-1], START, COUNT, Draws(params, PROMPT))
    next(steps)
    made.close()
    with pytest.raises(BackendError, match="closed"):
        next(steps)
    with pytest.raises(BackendError, match="closed"):
        next(made.decode(PROMPT[-1], START, 1, Draws(params)))
    made.close()


@pytest.mark.parametrize(("first", "second"), [(GREEDY, GREEDY), (DRAWN, GREEDY), (FLAT, DRAWN)])
def test_two_executables_decode_in_turns_as_each_does_alone(
    desk: Desk, path: Path, tmp_path: Path, first: SamplingParams, second: SamplingParams
) -> None:
    pair = executable(desk, path), executable(desk, tiny(tmp_path, "qwen3", quant="q8_0"))
    alone = [decoded(made, params) for made, params in zip(pair, (first, second), strict=True)]
    assert alone[0] != alone[1]
    for made in pair:
        begin(made)
    turns = zip_longest(
        *(
            made.decode(PROMPT[-1], START, COUNT, Draws(params, PROMPT))
            for made, params in zip(pair, (first, second), strict=True)
        )
    )
    assert [list(told) for told in zip(*turns, strict=True)] == alone
    for made in pair:
        made.close()


def test_of_a_vocabulary_smaller_than_what_is_drawn_from_all_of_it_counts(
    desk: Desk, tmp_path: Path
) -> None:
    made = executable(desk, tiny(tmp_path, vocabulary=100, quant="f32"))
    params = SamplingParams(temperature=3.0, seed=5, top_k=200)
    assert decoded(made, params) == by_default(made, params)
    made.close()


def test_a_run_between_two_replies_leaves_nothing_in_the_recorded_steps(
    made: GpuExecutable,
) -> None:
    whole = decoded(made, GREEDY)
    made.keep(0, 0)
    feed(made, [250, 251, 252, 253, 254, 255, 256])
    feed(made, [9], 7)
    assert decoded(made, DRAWN) == by_default(made, DRAWN)
    assert decoded(made, GREEDY) == whole
