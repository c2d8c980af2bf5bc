"""What each thread makes for itself lies where no other thread writes, whatever step it is at."""

from pathlib import Path

import numpy as np
import pytest

from forge.backend import Array
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.testing import write_tiny
from forge.testing.tiny_families import FAMILIES
from forge_cpu.compiled.emit import Emitter
from forge_cpu.compiled.memory import Memory
from forge_cpu.compiled.own import own_values
from forge_cpu.compiled.packed import placeholders
from forge_cpu.compiled.shared import Shared
from forge_cpu.library import Library
from forge_cpu.program import PerThread

THREADS = 3


def memory(tmp_path: Path, architecture: str) -> Memory:
    """Of a tiny model's program for one token, with widths that differ."""
    file = open_gguf(write_tiny(tmp_path / "m.gguf", architecture, quant="q8_0", ffn=160))
    graph = build_graph(file, context=64, state_dtype="f16")
    shared = Shared(graph, placeholders(graph), THREADS, 1)
    return Memory(shared, 1, own_values(shared))


@pytest.mark.parametrize("architecture", ["llama", "qwen3", "gemma3", "gpt-oss"])
def test_no_thread_shares_its_own_values_with_another(tmp_path: Path, architecture: str) -> None:
    made = memory(tmp_path, architecture)
    own = {n: v for n, v in made.values.items() if isinstance(v, PerThread)}
    assert len({value.shape for value in own.values()}) > 1, "widths that could overlap"
    others = [v for v in made.values.values() if isinstance(v, np.ndarray)]
    rooms: list[set[int]] = [set() for _ in range(THREADS)]
    for value in own.values():
        assert len(value.each) == THREADS
        for room, array in zip(rooms, value.each, strict=True):
            room |= lines(array)
    for number, room in enumerate(rooms):
        rest = set[int]().union(*rooms[number + 1 :], *map(lines, others))
        assert room
        assert not room & rest


@pytest.mark.parametrize("architecture", FAMILIES)
def test_a_program_for_one_token_has_no_kernel_of_its_own(
    tmp_path: Path, library: Library, architecture: str
) -> None:
    one = memory(tmp_path, architecture)
    many = Memory(one.shared, 1)
    single, any_number = (
        {*Emitter(m, library, single=m is one).record().kernels} for m in (one, many)
    )
    assert single < any_number


def lines(array: Array) -> set[int]:
    """The cache lines that an array lies in."""
    start = array.ctypes.data
    return set(range(start // 64, (start + array.nbytes - 1) // 64 + 1))


def test_outputs_are_nobodys_own(tmp_path: Path) -> None:
    made = memory(tmp_path, "gemma2")
    assert all(isinstance(made.values[name], np.ndarray) for name in made.shared.graph.outputs)
