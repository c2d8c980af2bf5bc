"""Sources and binaries of a test, and what builds them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import forge_vulkan
from forge_vulkan.compiling import ToolsMissing, compile_shaders, find_tools

HEAD = """#version 450
#extension GL_GOOGLE_include_directive : require
layout(local_size_x = 32) in;
layout(set = 0, binding = 0) buffer Data { float data[]; };
"""
PLAIN = HEAD + "void main() { data[gl_GlobalInvocationID.x] = 1.0; }\n"
PACKAGES = Path(forge_vulkan.__file__).parents[1]
MAGIC = bytes.fromhex("03022307")


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


def new_folder(path: Path) -> Folder:
    """One for a test; skips where there is no compiler, which the dev group has for most."""
    try:
        find_tools()
    except ToolsMissing as error:
        pytest.skip(str(error))
    return Folder(path)
