"""A shader that does not compile is shown, and leaves nothing that looks as if it had."""

from __future__ import annotations

from pathlib import Path

import pytest

from forge_vulkan.compiling import CompileError, read_index
from forge_vulkan.shader_sources import SourceError, variants

from .shader_folder import HEAD, PLAIN, Folder, new_folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return new_folder(tmp_path)


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
