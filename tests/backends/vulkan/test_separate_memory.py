"""A device with memory of its own: what goes in and comes out is copied, and nothing else differs.

The software device shares its memory with the host; it is told to do as if it did not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.backends.vulkan.desk import Desk
from tests.backends.vulkan.tiny_models import Draws, executable, feed, graph_of, tiny

from forge.backend import SamplingParams
from forge_gpu.executable import GpuExecutable
from forge_vulkan.runtime.memory import Arenas

TOKENS = [5, 17, 90, 44, 3, 250, 8, 8, 61]
PARAMS = [
    SamplingParams(temperature=0),
    SamplingParams(temperature=1.2, seed=3, top_k=20),
    SamplingParams(temperature=1.2, seed=3, top_k=0),
    SamplingParams(temperature=1.2, seed=3, top_k=200),
]


@pytest.fixture
def separate(open_desk: Callable[[str], Desk]) -> Desk:
    desk = open_desk("unified")
    assert not desk.gpu.unified
    return desk


@pytest.fixture
def shared(open_desk: Callable[[str], Desk]) -> Desk:
    desk = open_desk("")
    if not desk.gpu.unified:
        pytest.skip("this device has memory of its own: there is nothing to switch off")
    return desk


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("tiny"), quant="q4_0")


@pytest.fixture
def pair(shared: Desk, separate: Desk, path: Path) -> Iterator[list[GpuExecutable]]:
    made = [executable(desk, path) for desk in (shared, separate)]
    yield made
    for one in made:
        one.close()


def test_the_host_does_not_see_the_devices_memory(separate: Desk) -> None:
    arenas = Arenas(separate.gpu, "device", 4096)
    assert not arenas.mapped
    assert arenas.region(64).view().size == 0
    arenas.close()


@pytest.mark.parametrize("rows", ["all", "last", "none", [3, 0]])
def test_runs_give_the_same_bits(pair: list[GpuExecutable], rows: object) -> None:
    one, other = (feed(made, TOKENS, rows=rows) for made in pair)
    assert np.array_equal(one, other)
    one, other = (feed(made, [7], len(TOKENS)) for made in pair)
    assert np.array_equal(one, other)
    assert one.std() > 1


@pytest.mark.parametrize("params", PARAMS)
def test_decoding_gives_the_same_tokens(pair: list[GpuExecutable], params: SamplingParams) -> None:
    found = []
    for made in pair:
        made.keep(0, 0)
        feed(made, TOKENS[:-1], rows="none")
        sampler = Draws(params, TOKENS)
        found.append(list(made.decode(TOKENS[-1], len(TOKENS) - 1, 10, sampler)))
    assert found[0] == found[1]
    assert len({*found[0]}) > 3


def test_a_hidden_state_goes_in_and_comes_out(shared: Desk, separate: Desk, path: Path) -> None:
    stages = graph_of(path).split(1)
    found = []
    for desk in (shared, separate):
        first, second = (executable(desk, path, graph=stage) for stage in stages)
        ids, places = np.array(TOKENS, np.int32), np.arange(len(TOKENS), dtype=np.int32)
        hidden = first.run({"tokens": ids}, places, np.zeros_like(ids), "all")
        (logits,) = second.run(hidden, places, np.zeros_like(ids), "all").values()
        found.append((*hidden.values(), logits))
        first.close()
        second.close()
    for one, other in zip(*found, strict=True):
        assert len(one) == len(TOKENS)
        assert np.array_equal(one, other)
