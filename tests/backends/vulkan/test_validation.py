"""FORGE_VULKAN_VALIDATE=1: what the validation layer finds is an error of forge's, soon."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from tests import vulkan_device

PROGRAM = """
import sys
from forge.backend import BackendConfig, BackendError
from forge_vulkan.opening import Opening
from forge_vulkan.runtime import vk
from forge_vulkan.runtime.kernels import Kernels
from forge_vulkan.runtime.memory import Buffer
from forge_vulkan.runtime.recording import Commands, Recording
from forge_vulkan.runtime.submission import Queue

device, mistake = sys.argv[1:]
opening = Opening(BackendConfig(device=device))
gpu = opening.gpu
queue, kernels, commands = Queue(gpu), Kernels(gpu), Commands(gpu)
one, two = Buffer(gpu, 1024), Buffer(gpu, 1024, "download")
try:
    recording = Recording(commands)
    recording.fill(one.whole, 1)
    recording.fill(one.whole.part(512, 512), 2)
    if mistake == "hazard":
        vk.lib.vkCmdFillBuffer(recording.handle, one.handle, 0, 1024, 3)
    if mistake == "wrong":
        vk.lib.vkCmdFillBuffer(recording.handle, two.handle, 2, 512, 3)
    recording.copy(one.whole, two.whole)
    queue.run([recording.end()])
    assert two.whole.view()[0] == 1
    assert two.whole.view()[512] == 2
    queue.close()
    kernels.close()
    commands.close()
    if mistake != "leak":
        one.close()
    two.close()
    opening.close()
    print("nothing")
except BackendError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        ("none", "nothing"),
        ("hazard", "SYNC-HAZARD-WRITE-AFTER-WRITE"),
        ("wrong", "VUID-vkCmdFillBuffer-dstOffset"),
        ("leak", "has not been destroyed"),
    ],
)
def test_a_mistake_with_the_driver_is_raised_by_the_next_checked_call(
    mistake: str, says: str
) -> None:
    vulkan_device.validating()
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, vulkan_device.device(), mistake],
        env={**os.environ, "FORGE_VULKAN_VALIDATE": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if mistake == "none":
        assert done.stdout == "nothing\n"
    else:
        assert done.stdout.startswith("the validation layer found: ")
        assert says in done.stdout
