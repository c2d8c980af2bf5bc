"""Wheels are built from a copy of this project, by hatchling itself, without a network."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from forge_vulkan.compiling import ToolsMissing, find_tools

PROJECT = Path(__file__).parents[3]
SHADER = """//! N: 1 2
#version 450
layout(local_size_x = 1) in;
layout(set = 0, binding = 0) buffer Data { float data[]; };
void main() { data[0] = float(N); }
"""
BUILDING = ("hatchling", "packaging", "pathspec", "pluggy", "trove_classifiers", "tomlkit")

pytestmark = pytest.mark.skipif(
    not (PROJECT / "pyproject.toml").is_file(), reason="there is no project around these tests"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy whose only shader is a tiny one, which nobody compiled yet."""
    copy = tmp_path / "project"
    for name in ("core", "backends", "tui"):
        leave = shutil.ignore_patterns("__pycache__", "spirv", "shaders")
        shutil.copytree(PROJECT / name, copy / name, ignore=leave)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(PROJECT / name, copy / name)
    shaders = copy / "backends/vulkan/forge_vulkan/shaders"
    shaders.mkdir()
    (shaders / "tiny.comp").write_text(SHADER)
    return copy


def build(
    project: Path, *options: str, **env: str
) -> tuple[subprocess.CompletedProcess[str], dict[str, bytes]]:
    """What hatchling said, and the files of the wheel that came out."""
    program = "import hatchling.build as b; print(b.get_requires_for_build_wheel()); "
    done = subprocess.run(
        [sys.executable, *options, "-c", program + "b.build_wheel('dist')"],
        cwd=project,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    wheels = list((project / "dist").glob("*.whl"))
    if not wheels:
        return done, {}
    with zipfile.ZipFile(wheels[0]) as wheel:
        return done, {name: wheel.read(name) for name in wheel.namelist()}


def test_a_wheel_has_every_variant_of_every_shader(project: Path) -> None:
    try:
        find_tools()
    except ToolsMissing as error:
        pytest.skip(str(error))
    done, files = build(project)
    assert done.returncode == 0, done.stderr
    compiled = {name for name in files if name.startswith("forge_vulkan/spirv/")}
    assert compiled == {
        "forge_vulkan/spirv/index.json",
        "forge_vulkan/spirv/tiny.N=1.spv",
        "forge_vulkan/spirv/tiny.N=2.spv",
    }
    assert files["forge_vulkan/spirv/tiny.N=1.spv"] != files["forge_vulkan/spirv/tiny.N=2.spv"]
    unpacked = project / "unpacked"
    for name, content in files.items():
        if name.startswith("forge_vulkan/"):
            (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
            (unpacked / name).write_bytes(content)
    check = [sys.executable, "-m", "forge_vulkan.compiling", "--check"]
    assert subprocess.run(check, cwd=unpacked, timeout=30, check=False).returncode == 0
    (unpacked / "forge_vulkan/spirv/tiny.N=2.spv").unlink()
    found = subprocess.run(check, cwd=unpacked, timeout=30, stderr=subprocess.PIPE, check=False)
    assert found.returncode == 1
    assert found.stderr == b"not compiled: tiny.N=2.spv\n"


def test_where_no_compiler_has_a_wheel_forge_is_built_without_shaders_and_says_so(
    project: Path, tmp_path: Path
) -> None:
    # Only the packages that build, on a machine that calls itself something else.
    packages = tmp_path / "packages"
    packages.mkdir()
    for name in BUILDING:
        spec = find_spec(name)
        if spec and spec.origin:
            place = Path(spec.origin).parent if spec.submodule_search_locations else spec.origin
            (packages / Path(place).name).symlink_to(place)
    environment = {
        "PYTHONPATH": str(packages),
        "PATH": str(tmp_path),
        "_PYTHON_HOST_PLATFORM": "linux-riscv64",
    }
    done, files = build(project, "-S", **environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[]\n"), "no compiler is required where there is none"
    assert "this build of forge has no Vulkan shaders: no shader compiler here" in done.stderr
    assert "forge/engine.py" in files
    assert [name for name in files if name.startswith("forge_vulkan/spirv/")] == [
        "forge_vulkan/spirv/index.json"
    ]
    assert b'"tiny.N=1.spv": null' in files["forge_vulkan/spirv/index.json"]


def test_a_build_with_a_shader_that_does_not_compile_fails_and_shows_it(project: Path) -> None:
    try:
        find_tools()
    except ToolsMissing as error:
        pytest.skip(str(error))
    shader = project / "backends/vulkan/forge_vulkan/shaders/tiny.comp"
    shader.write_text(SHADER.replace("float(N)", "nothing"))
    done, files = build(project)
    assert done.returncode != 0
    assert not files
    assert "tiny.comp (N=1) does not compile" in done.stderr
    assert "'nothing' : undeclared identifier" in done.stderr
