"""Kernels are compiled by several processes, and whatever becomes of those they are compiled."""

import os
import signal
import time
from contextlib import closing
from pathlib import Path

import pytest

from forge_cpu.cache import CodeCache
from forge_cpu.compilers import compile_several
from forge_cpu.isa import Isa
from forge_cpu.library import Library

NAMES = ["trial.fill", "trial.total", "trial.add_shifted", "quantise.rows"]

pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors")


def children() -> set[int]:
    """The processes that this one has started and not buried."""
    return {int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()}


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
