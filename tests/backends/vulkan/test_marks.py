"""The device says where it is: a wait that takes long can name the layer, and never a stale one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.backends.vulkan.desk import Desk
from tests.backends.vulkan.tiny_models import Counted, Draws, executable, feed, graph_of, tiny

from forge.backend import SamplingParams

GREEDY = SamplingParams(temperature=0)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("tiny"), quant="f16", layers=3)


@pytest.fixture
def queue(desk: Desk) -> Iterator[Counted]:
    queue = Counted(desk)
    yield queue
    queue.close()


def test_nothing_is_named_before_anything_ran(desk: Desk, path: Path, queue: Counted) -> None:
    assert queue.where() == ""
    made = executable(desk, path, queue=queue)
    assert queue.where() == ""
    made.close()


def test_a_graph_that_is_loaded_beside_another_is_not_said_to_be_at_its_layers(
    desk: Desk, path: Path, queue: Counted
) -> None:
    made = executable(desk, path, queue=queue)
    feed(made, [1])
    assert queue.where() != ""
    beside = executable(desk, path, queue=queue)
    assert queue.where() == ""
    feed(made, [2], 1, rows="none")
    assert queue.where() == "layer 2"
    for each in (made, beside):
        each.close()


@pytest.mark.parametrize("tokens", [1, 9])
def test_a_run_ends_behind_the_last_layer_or_in_it(
    desk: Desk, path: Path, queue: Counted, tokens: int
) -> None:
    made = executable(desk, path, queue=queue)
    feed(made, range(tokens), rows="none")
    assert queue.where() == "layer 2"
    feed(made, range(tokens), tokens, rows="last")
    assert queue.where() == "what comes after the layers"
    made.close()


def test_a_stage_names_the_layers_as_it_counts_them(desk: Desk, path: Path, queue: Counted) -> None:
    first, second = graph_of(path).split(1)
    made = executable(desk, path, queue=queue, graph=first)
    feed(made, [1, 2, 3])
    assert queue.where() == "layer 0"
    made.close()
    made = executable(desk, path, queue=queue, graph=second)
    ids = np.arange(3, dtype=np.int32)
    (hidden,) = made.inputs
    state = {hidden: np.ones((3, 128), np.float32)}
    made.run(state, ids, np.zeros_like(ids), "none")
    assert queue.where() == "layer 2"
    made.run(state, ids + 3, np.zeros_like(ids), "last")
    assert queue.where() == "what comes after the layers"
    made.close()


def test_the_marks_are_those_of_who_ran_last(desk: Desk, path: Path, queue: Counted) -> None:
    one, other = (executable(desk, path, queue=queue) for _ in range(2))
    feed(one, [1, 2], rows="none")
    feed(other, [1, 2], rows="last")
    assert queue.where() == "what comes after the layers"
    feed(one, [3], 2, rows="none")
    assert queue.where() == "layer 2"
    next(other.decode(3, 2, 1, Draws(GREEDY)))
    assert queue.where() == "what comes after the layers"
    one.close()
    other.close()


def test_what_is_closed_is_asked_no_more(
    desk: Desk, path: Path, queue: Counted, open_desk: Callable[[str], Desk]
) -> None:
    """Its marks lay in memory that somebody else has now; a load that waits would read them."""
    made = executable(desk, path, queue=queue)
    feed(made, [1, 2])
    assert queue.where() != ""
    made.close()
    assert queue.where() == ""
