"""Submissions hold as much work as the device was seen to do in a fifth of a second."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.backends.vulkan.desk import Desk
from tests.backends.vulkan.tiny_models import Counted, executable, feed, tiny

from forge.backend import BackendHung
from forge.testing.truth import divergence
from forge_gpu.pacing import Pace, Piece

BELIEVED = 1e9
"""Multiply-adds a second of a software device, before anything was measured."""
SUBMISSION = 0.2 * BELIEVED


@pytest.fixture
def queue(desk: Desk) -> Iterator[Counted]:
    queue = Counted(desk)
    yield queue
    queue.close()


def quick(desk: Desk) -> Any:
    """A command buffer of a few milliseconds."""
    recording = desk.commands.recording()
    room = desk.arenas.region(16 << 20)
    for word in range(4):
        recording.fill(room, word)
    return recording.end()


def slow(desk: Desk, queue: Counted, seconds: float) -> Any:
    """One of at least so long."""
    kernel = desk.kernels.get("spin", bindings=1, push=4)
    word = desk.array(np.zeros(1, np.uint32))
    groups = 1
    while True:
        recording = desk.commands.recording()
        recording.dispatch(kernel, [word], (groups, 1, 1), writes=[], push=b"\1\0\0\0")
        handle = recording.end()
        if queue.run([handle]) > seconds:
            return handle
        groups *= 2


def test_pieces_go_together_up_to_what_is_believed_of_the_device(
    desk: Desk, queue: Counted
) -> None:
    handle = quick(desk)
    sizes = [0.4, 0.4, 0.4, 2.0, 0.0, 0.0]
    Pace(queue, "software").run([Piece(handle, share * SUBMISSION) for share in sizes[:2]])
    assert queue.groups == [2]
    queue.groups.clear()
    Pace(queue, "software").run([Piece(handle, share * SUBMISSION) for share in sizes])
    assert sum(queue.groups) == len(sizes)
    assert queue.groups[:2] == [2, 1]  # what is too large goes alone
    queue.groups.clear()
    Pace(queue, "discrete").run([Piece(handle, share * SUBMISSION) for share in sizes])
    assert queue.groups == [len(sizes)]


def test_what_was_slow_makes_the_next_submissions_smaller(desk: Desk, queue: Counted) -> None:
    pace = Pace(queue, "software")
    handle = slow(desk, queue, 0.5)  # 0.1 would do, if nobody else were here
    queue.groups.clear()
    pace.run([Piece(handle, SUBMISSION / 2)] * 2)
    assert queue.groups == [2]
    pace.run([Piece(handle, SUBMISSION / 2)] * 2)
    assert queue.groups == [2, 1, 1]


def test_what_was_quick_makes_them_larger(desk: Desk, queue: Counted) -> None:
    pace, handle = Pace(queue, "software"), quick(desk)
    for _ in range(50):
        pace.run([Piece(handle, SUBMISSION / 2)] * 8)
        if queue.groups[-1] == 8:
            break
    assert queue.groups[0] == 2
    assert queue.groups[-1] == 8


def test_work_that_is_none_says_nothing_of_the_device(desk: Desk, queue: Counted) -> None:
    pace, handle = Pace(queue, "software"), slow(desk, queue, 0.05)
    pace.run([Piece(handle, 0.0)])
    queue.groups.clear()
    pace.run([Piece(quick(desk), SUBMISSION / 2)] * 2)
    assert queue.groups == [2]


def test_a_wait_has_an_end_that_names_the_place(desk: Desk) -> None:
    queue = Counted(desk)
    handle = slow(desk, queue, 0.6)
    queue.limit = 0.05
    queue.where = lambda: "layer 7"
    with pytest.raises(BackendHung, match=r"did not finish .* layer 7"):
        Pace(queue, "software").run([Piece(handle, 1.0)])
    desk.queue.run([quick(desk)])  # behind the other, which ends after all
    queue.close()


def test_a_chunk_of_much_work_goes_to_a_software_device_in_several_submissions(
    desk: Desk, queue: Counted, tmp_path: Path
) -> None:
    if desk.gpu.listed.device.kind != "software":
        pytest.skip("what is little for this device is hours for the reference")
    path = tiny(tmp_path, quant="q4_0", width=256, ffn=1024, layers=4)
    made = executable(desk, path, queue=queue)
    queue.groups.clear()
    whole = feed(made, range(64), rows="last")
    assert sum(queue.groups) > 4  # the frame, pieces of the layers, the head
    made.keep(0, 0)
    feed(made, range(60), rows="none")
    queue.groups.clear()
    singles = [feed(made, [token], token) for token in range(60, 64)]
    assert sum(queue.groups) == 3 * len(singles)
    assert divergence(whole, singles[-1]) < 1e-2
    made.close()
