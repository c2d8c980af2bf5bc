"""A driver that fails is told in forge's words, by the real runtime on a real device."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from tests import vulkan_device

from forge_vulkan.runtime.fault import said

PROGRAM = """
import json, os, sys, time
from forge.backend import BackendConfig, BackendError
from forge_vulkan.failing import fail
from forge_vulkan.opening import Opening
from forge_vulkan.runtime.kernels import Kernels
from forge_vulkan.runtime.memory import Buffer
from forge_vulkan.runtime.recording import Commands, Recording
from forge_vulkan.runtime.submission import Queue

device, fault = sys.argv[1:]
gpu = Opening(BackendConfig(device=device)).gpu
queue = Queue(gpu, limit=0.5)
queue.where = lambda: "layer 7"
buffer = Buffer(gpu, 1024, "download")
recording = Recording(Commands(gpu))
recording.fill(buffer.whole, 7)
work = recording.end()
queue.run([work])
assert (buffer.whole.view() == [7, 0, 0, 0] * 256).all()
if fault != "none":
    fail(fault, gpu)
started = time.monotonic()
try:
    Buffer(gpu, 2048)
    Kernels(gpu).get("spin", bindings=1, push=4)
    queue.run([work])
    said = ["", ""]
except BackendError as error:
    said = [type(error).__name__, str(error)]
print(json.dumps([*said, time.monotonic() - started]), flush=True)
os._exit(0)  # as a worker ends: what spins ends with it
"""


def run(fault: str) -> tuple[str, str, float, str]:
    """The error's name and text, after how many seconds it came, and what the log has."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM, vulkan_device.device(), fault],
        env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    kind, text, seconds = json.loads(done.stdout)
    return kind, text, seconds, done.stderr


def test_a_driver_that_does_not_fail_finishes_its_work() -> None:
    assert run("none")[0] == ""


def test_a_stalled_fence_ends_the_wait_and_names_the_last_layer() -> None:
    kind, text, seconds, log = run("hang")
    assert kind == "BackendHung"
    assert "did not finish" in text
    assert "layer 7" in text
    assert 0.5 <= seconds < 20
    assert "waiting for the device for 0." in log
    assert log.strip().endswith("the last that it began: layer 7")


@pytest.mark.parametrize(
    ("fault", "kind", "says"),
    [
        ("lost", "BackendLost", "VK_ERROR_DEVICE_LOST"),
        ("oom", "BackendOutOfMemory", "no room for"),
        ("error", "BackendError", "VK_ERROR_UNKNOWN"),
    ],
)
def test_a_result_of_the_driver_becomes_the_error_that_says_what_it_means(
    fault: str, kind: str, says: str
) -> None:
    found, text, *_ = run(fault)
    assert found == kind
    assert says in text
    assert ("layer 7" in text) == (fault == "lost")


def test_a_report_of_a_lost_device_has_the_address_and_the_vendors_words() -> None:
    text = said("page fault", [(0, 0), (2, 0x7F00), (9, 1)], [("Xid 31", 31, 4)])
    assert text == (
        "page fault; an invalid write at 0x7f00; a fault of type 9 at 0x1; "
        "Xid 31 (code 0x1f, data 0x4)"
    )
    assert said("", [], []) == ""
