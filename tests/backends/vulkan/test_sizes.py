"""What a graph is said to take on the device is what it takes, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.backends.vulkan.desk import Desk
from tests.backends.vulkan.tiny_models import graph_of, recorded, tiny

from forge_gpu.sizes import Sizes
from forge_vulkan.runtime.recording import Commands

PLAIN = "subgroups,sizes,dot,half,coopmat"
VARIED = ("llama", "gemma3", "qwen3moe", "gpt-oss", "gpt2")
"""Architectures whose steps are of every kind; recording compiles, so not all are."""


@pytest.mark.parametrize("without", ["", PLAIN])
@pytest.mark.parametrize("architecture", VARIED)
def test_all_that_a_model_works_in_is_in_the_one_allocation_that_was_counted(
    open_desk: Callable[[str], Desk], tmp_path: Path, architecture: str, without: str
) -> None:
    desk = open_desk(without)
    path = tiny(tmp_path, architecture, quant="q4_0")
    with recorded(desk, path, Commands(desk.gpu)) as (_, device):
        assert len(device.allocated) == 1


def test_less_is_taken_where_memory_is_short(desk: Desk, tmp_path: Path) -> None:
    graph = graph_of(tiny(tmp_path), context=512)
    usual, frugal = (Sizes(graph, desk.kernels, frugal) for frugal in (False, True))
    assert frugal.chunk < usual.chunk
    assert frugal.total < usual.total


def test_a_longer_context_takes_as_much_more_as_its_cache(desk: Desk, tmp_path: Path) -> None:
    path = tiny(tmp_path, context=4096)
    short, long = (Sizes(graph_of(path, context), desk.kernels) for context in (1024, 4096))
    assert long.total - short.total == long.state - short.state == 3 * short.state
