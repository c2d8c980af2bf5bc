"""Kernels are compiled by several processes, and whatever becomes of those they are compiled."""

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from forge.gguf import open_gguf
from forge.models import build_graph
from forge.testing import write_tiny
from forge.testing.tiny_families import FAMILIES
from forge_cpu.cache import CodeCache
from forge_cpu.compiled.choice import all_computed
from forge_cpu.compiled.executable import kernels
from forge_cpu.compilers import compile_several
from forge_cpu.isa import Isa
from forge_cpu.library import Library, every

NAMES = ["trial.fill", "trial.total", "trial.add_shifted", "quantise.rows"]

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")


def children() -> set[int]:
    """The processes that this one has started and not buried."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


@pytest.mark.parametrize("architecture", FAMILIES)
def test_all_kernels_are_more_than_a_model_takes(
    architecture: str, library: Library, tmp_path: Path
) -> None:
    with open_gguf(write_tiny(tmp_path / "m.gguf", architecture)) as file:
        graph = build_graph(file)
    if not all_computed(graph):
        pytest.skip(f"{architecture} runs in numpy")
    assert kernels(graph, library, 1) < every()


def test_each_kernel_comes_once_and_no_process_is_left() -> None:
    before = children()
    with closing(compile_several(NAMES, Isa.GENERIC)) as compiled:
        found = dict(compiled)
    assert sorted(found) == sorted(NAMES)
    assert all(code[:4] == b"\x7fELF" for code in found.values())
    assert children() == before


def test_a_person_who_gives_up_leaves_no_process(folder: Path) -> None:
    before = children()

    def give_up(phase: str, done: int, total: int, detail: str = "") -> None:
        if done:
            raise KeyboardInterrupt

    library = Library(Isa.GENERIC, CodeCache(folder))
    with pytest.raises(KeyboardInterrupt):
        library.prepare(NAMES, give_up)
    assert children() == before
    library.prepare(NAMES, lambda *_: None)


def test_what_a_process_was_killed_over_is_compiled_without_it(folder: Path) -> None:
    seen: list[str] = []
    before = children()

    def kill_them(phase: str, done: int, total: int, detail: str = "") -> None:
        seen.append(detail)
        for pid in children() - before:
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    library = Library(Isa.GENERIC, CodeCache(folder))
    library.prepare(NAMES, kill_them)
    assert sorted(seen) == sorted(["", *NAMES])
    assert all(map(library.address, NAMES))
    assert children() == before


def test_what_no_process_can_compile_is_named_with_the_reason(folder: Path) -> None:
    library = Library(Isa.GENERIC, CodeCache(folder))
    with pytest.raises(Exception, match=r"pointers\.f32 is .*, not a kernel"):
        library.prepare([*NAMES, "pointers.f32"], lambda *_: None)
