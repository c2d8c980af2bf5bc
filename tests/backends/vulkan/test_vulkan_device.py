"""What other tests stand on: a device is found or its absence told, and the layer speaks up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import vulkan_device

FILLS = Path(__file__).with_name("two_fills.py")
PROJECT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("mistake", "says"),
    [("none", ""), ("wrong", "VUID-vkCmdFillBuffer-dstOffset-"), ("hazard", "SYNC-HAZARD-WRITE")],
)
def test_the_validation_layer_finds_a_wrong_call_and_a_missing_barrier(
    mistake: str, says: str
) -> None:
    env = {**os.environ, **vulkan_device.validating()}
    done = subprocess.run(
        [sys.executable, "-P", str(FILLS), mistake],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = vulkan_device.complaints(done.stdout)
    assert bool(found) == bool(says), done.stdout
    assert all(says in line for line in found)


@pytest.mark.parametrize(("required", "outcome"), [("", "Skipped"), ("required", "Failed")])
def test_without_a_device_a_test_skips_with_the_command_or_fails_where_it_may_not(
    required: str, outcome: str
) -> None:
    vulkan_device.device()  # without any here, what follows shows nothing
    program = "import sys; sys.path.insert(0, '.'); from tests import vulkan_device as v\n"
    program += "try: v.device()\nexcept BaseException as e: print(type(e).__name__, e.msg)"
    env = {"VK_DRIVER_FILES": os.devnull, "VK_ICD_FILENAMES": os.devnull}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=PROJECT,
        env={**os.environ, **env, "FORGE_TEST_VULKAN": required},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.stdout.startswith(f"{outcome} no Vulkan device here: "), done.stderr
    assert vulkan_device.install_command() in done.stdout
