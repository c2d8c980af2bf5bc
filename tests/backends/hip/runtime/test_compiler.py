"""Kernels are compiled once for this machine; what is kept is whole, or is compiled anew."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.backends.hip.runtime.conftest import Play
from tests.backends.hip.runtime.desk import Desk

from forge.backend import BackendError
from forge_gpu import kept
from forge_hip.runtime.compiler import Compiler, Unit

SET = Unit(
    "set",
    '#include "value.h"\n'
    'extern "C" __global__ void set(unsigned* out) { out[0] = VALUE + MORE; }\n',
    ("-DMORE=1",),
    ("set",),
    (("value.h", "#define VALUE 41\n"),),
)


def made(desk: Desk, folder: Path) -> Compiler:
    return Compiler(desk.driver, "gfx1100", folder)


def test_what_was_compiled_is_kept_and_found_again(desk: Desk, tmp_path: Path) -> None:
    first, second = made(desk, tmp_path), made(desk, tmp_path)
    heard: list[tuple[str, int, int, str]] = []
    first.prepare([SET], lambda *piece: heard.append(piece))
    first.prepare([SET], lambda *piece: heard.append(piece))
    second.prepare([SET])
    assert (first.compiled, second.compiled) == (1, 0)
    assert heard == [("compile", 1, 1, "set")]
    for compiler in (first, second):
        assert compiler.function("set") is not None
        compiler.close()


def test_source_headers_options_and_instruction_set_make_another_object(
    desk: Desk, tmp_path: Path
) -> None:
    compiler = made(desk, tmp_path)
    units = [
        SET,
        replace(SET, source=SET.source + "\n"),
        replace(SET, options=("-DMORE=2",)),
        replace(SET, headers=(("value.h", "#define VALUE 1\n"),)),
    ]
    keys = {compiler.shelf(unit).path for unit in units}
    keys.add(Compiler(desk.driver, "gfx1201", tmp_path).shelf(SET).path)
    assert len(keys) == 5


@pytest.mark.parametrize("damage", [b"", b"short", b"x" * 5000])
def test_a_damaged_object_is_compiled_anew(desk: Desk, tmp_path: Path, damage: bytes) -> None:
    first = made(desk, tmp_path)
    first.prepare([SET])
    [path] = tmp_path.rglob("*.co")
    path.write_bytes(damage)
    second = made(desk, tmp_path)
    second.prepare([SET])
    assert second.compiled == 1
    assert len(kept.read(path)) > 1000
    first.close()
    second.close()


def test_an_object_that_the_driver_does_not_take_is_compiled_anew(
    desk: Desk, tmp_path: Path
) -> None:
    compiler = made(desk, tmp_path)
    kept.write(compiler.shelf(SET).path, b"\x7fELF of another release")
    compiler.prepare([SET])
    assert compiler.compiled == 1
    compiler.close()


def test_a_source_with_an_error_says_what_the_compiler_said(desk: Desk, tmp_path: Path) -> None:
    wrong = replace(SET, name="wrong", source='extern "C" __global__ void set() { nonsense; }\n')
    with pytest.raises(BackendError, match=r"(?s)compile wrong \(hiprtcCompileProgram.*nonsense"):
        made(desk, tmp_path).prepare([wrong])
    assert not list(tmp_path.rglob("*.co"))
    assert not list(tmp_path.rglob("*.begun"))


def test_a_kernel_that_the_source_does_not_have_is_named(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="hipModuleGetFunction"):
        made(desk, tmp_path).prepare([replace(SET, entries=("set", "other"))])


def test_a_kernel_that_nobody_prepared_is_named(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="no kernel set was prepared"):
        made(desk, tmp_path).function("set")


def test_a_folder_that_cannot_be_written_costs_only_the_next_start(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"")
    compiler = made(desk, tmp_path / "file")
    compiler.prepare([SET])
    assert compiler.compiled == 1
    compiler.close()


@pytest.fixture
def older(desk: Desk, tmp_path: Path) -> Iterator[Path]:
    """The folder of a release that compiled the kernel, and whose name nobody has any more."""
    compiler = made(desk, tmp_path / "older")
    compiler.prepare([SET])
    path = compiler.shelf(SET).path
    path.rename(path.with_name(path.name.rpartition("-")[0] + "-0123456789abcdef.co"))
    yield tmp_path / "older"
    compiler.close()


@pytest.mark.parametrize("elsewhere", [False, True])
def test_where_hiprtc_fails_what_another_release_made_serves(
    play: Play, older: Path, tmp_path: Path, elsewhere: bool
) -> None:
    folder = tmp_path / "own" if elsewhere else older
    environ = {"FORGE_HIP_OBJECTS": str(older)} if elsewhere else {}
    done = play(FALLS_BACK, HIPSIM_FAULT=FAILS, PYTHONPATH=os.getcwd(), OWN=str(folder), **environ)
    value, note = done.stdout.splitlines()
    assert value == "42", done.stderr
    assert "hiprtc failed to compile set" in note
    assert "code of another release is used" in note


def test_where_hiprtc_fails_and_nothing_was_made_before_it_says_so(
    play: Play, tmp_path: Path
) -> None:
    done = play(FALLS_BACK, HIPSIM_FAULT=FAILS, PYTHONPATH=os.getcwd(), OWN=str(tmp_path))
    assert "BackendError: hiprtc failed to compile set" in done.stderr


def test_a_compilation_that_never_came_back_is_not_tried_again_if_there_is_a_way_around(
    desk: Desk, older: Path
) -> None:
    compiler = made(desk, older)
    compiler.shelf(SET).begin("set")
    compiler.prepare([SET])
    assert compiler.compiled == 0
    assert "did not come back from set" in compiler.notes[0]
    compiler.close()


FAILS = "hiprtcCompileProgram[set]=err:6"
FALLS_BACK = """
import os
from pathlib import Path
import numpy as np
from tests.backends.hip.runtime.desk import Desk, ONE
from tests.backends.hip.runtime.test_compiler import SET
from forge_hip.runtime.compiler import Compiler
from forge_hip.runtime.launches import Packed

desk = Desk()
compiler = Compiler(desk.driver, "gfx1100", Path(os.environ["OWN"]))
compiler.prepare([SET])
out = desk.pool.take(4)
desk.stream.launch(compiler.function("set"), ONE, ONE, Packed([out]))
print(desk.stream.copy_from(out, np.uint32)[0])
print(" ".join(compiler.notes[0].split()))
"""
ABORTS = """
import sys
from pathlib import Path
from tests.backends.hip.runtime.test_compiler import SET
from forge_hip.runtime.compiler import Compiler
from forge_hip.runtime.driver import Driver
Compiler(Driver(), "gfx1100", Path(sys.argv[-1] if len(sys.argv) > 1 else FOLDER)).prepare([SET])
"""


def test_a_compiler_that_aborts_leaves_word_of_it(play: Play, tmp_path: Path) -> None:
    """As AMD's own does for a GPU that is newer than it (seen with ROCm 5.2 and gfx1100)."""
    program = ABORTS.replace("FOLDER", repr(str(tmp_path)))
    done = play(program, HIPSIM_FAULT="hiprtcCompileProgram=abort", PYTHONPATH=os.getcwd())
    assert done.returncode < 0
    [begun] = tmp_path.rglob("*.begun")
    assert kept.read(begun) == b"set"
    assert not list(tmp_path.rglob("*.co"))
