"""Whole models under the validation layer, hazards of synchronisation included."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import vulkan_device
from tests.backends.vulkan.tiny_models import tiny

HERE = Path(__file__).parent


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
    path = tiny(tmp_path, architecture, quant=quant, width=256)
    assert ran("validated_program.py", path, without) == "done"


@pytest.mark.parametrize("without", ["", "unified"])
def test_a_load_that_fails_anywhere_gives_everything_back(tmp_path: Path, without: str) -> None:
    path = tiny(tmp_path, quant="q4_0", layers=1)
    said = ran("giving_up_program.py", path, without)
    assert said.isdecimal(), said
    assert int(said) > 20


def ran(program: str, path: Path, without: str) -> str:
    vulkan_device.validating()
    done = subprocess.run(
        [sys.executable, "-P", HERE / program, path, vulkan_device.device()],
        env={**os.environ, "FORGE_VULKAN_VALIDATE": "1", "FORGE_VULKAN_WITHOUT": without},
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout
