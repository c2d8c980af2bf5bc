"""Kernels of one token that wait for each other by counters: the same numbers as with barriers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.backends.vulkan.desk import Desk
from tests.backends.vulkan.tiny_models import executable, tiny

from forge.backend import Array
from forge_gpu.flow import FLOW_BYTES, Flow
from forge_gpu.steps.products import multiply_one
from forge_gpu.tape import Tape
from forge_vulkan.runtime.recording import Recording


def logits(desk: Desk, path: Path) -> Array:
    made = executable(desk, path)
    (name,) = made.graph.outputs
    rows = []
    for position in range(12):
        one = np.array([position], np.int32)
        tokens = np.array([7 * position % 50], np.int32)
        rows.append(made.run({"tokens": tokens}, one, np.zeros_like(one), "last")[name])
    made.close()
    return np.concatenate(rows)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt-oss"])
def test_waiting_for_each_other_gives_the_same_bits_as_barriers(
    open_desk: Callable[[str], Desk], tmp_path: Path, architecture: str
) -> None:
    desk, with_barriers = open_desk(""), open_desk("flow")
    if not desk.gpu.features.flow:
        pytest.skip("this device takes barriers")
    assert not with_barriers.gpu.features.flow
    path = tiny(tmp_path, architecture, quant="q8_0")
    found = logits(desk, path)
    assert np.isfinite(found).all()
    assert np.array_equal(found, logits(with_barriers, path))


@pytest.mark.parametrize("missing", [0, 1])
def test_what_nobody_finishes_is_waited_for_in_vain_and_makes_nan(desk: Desk, missing: int) -> None:
    x = desk.activation(np.ones((1, 64), np.float32))
    y = desk.nothing(32)
    matrix = desk.matrix("f32", np.ones((32, 64), np.float32).view(np.uint8), 64)
    counters = desk.array(np.zeros(FLOW_BYTES, np.uint8))
    flow = Flow(counters)
    flow.add(missing, [x.region], [])  # a kernel that is said to make x, and is not there
    recording = Recording(desk.commands, flow=flow)
    tape = Tape(desk.kernels, desk.frame, recording)
    multiply_one(tape, x, matrix, y)
    desk.queue.run([recording.end()])
    found = y.region.view(np.float32)[:32]
    assert np.isnan(found).all() if missing else (found == 64).all()


def test_a_recording_of_more_levels_than_counters_goes_on_with_barriers(desk: Desk) -> None:
    counters = desk.array(np.zeros(FLOW_BYTES, np.uint8))
    kernel = desk.kernels.get("mark_waiting", bindings=2, push=16, constants=(1, 1, 1))
    word = desk.array(np.zeros(64, np.int32))
    recording = Recording(desk.commands, flow=Flow(counters))
    most = FLOW_BYTES // 32
    for number in range(most + 3):
        push = number.to_bytes(4, "little")
        recording.dispatch(kernel, [word], (1, 1, 1), writes=[0], push=push, waits=True)
    assert recording.flow
    assert recording.flow.level == most - 1
    assert recording.count.barriers == 3
    recording.end()
