"""Whole models under the validation layer, hazards of synchronisation included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import vulkan_device
from tests.backends.vulkan.tiny_models import tiny

PROGRAM = Path(__file__).with_name("validated_program.py")


@pytest.mark.parametrize(
    ("architecture", "quant", "without"),
    [
        ("llama", "q4_k", ""),
        ("gemma3", "q8_0", "unified"),
        ("qwen3moe", "q4_0", "subgroups,sizes,dot,half"),
        ("gpt-oss", "mxfp4", "unified,dot"),
    ],
)
def test_nothing_that_a_model_does_is_against_the_rules_of_vulkan(
    tmp_path: Path, architecture: str, quant: str, without: str
) -> None:
    vulkan_device.validating()
    path = tiny(tmp_path, architecture, quant=quant, width=256)
    done = subprocess.run(
        [sys.executable, "-P", PROGRAM, path, vulkan_device.device()],
        env={**os.environ, "FORGE_VULKAN_VALIDATE": "1", "FORGE_VULKAN_WITHOUT": without},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "done"
