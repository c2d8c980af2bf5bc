"""Processes told apart, and judged."""

import os
import signal
import subprocess
import sys
import time

import pytest

from forge.state import ProcessId, boot_id, process_id, status, this_process
from forge.state.processes import machine_id


def comes_to(process: ProcessId, expected: str) -> bool:
    """Whether it is judged so in the end: a sound process waits for its disk now and then."""
    end = time.monotonic() + 20
    while status(process) != expected:
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")


@LINUX
def test_this_process_runs_and_has_a_start_time():
    process = this_process()
    assert process.pid == os.getpid()
    assert process.started > 0
    assert status(process) == "running"
    assert len(boot_id()) == 36


@LINUX
def test_a_real_process_runs_until_it_is_killed_and_a_zombie_is_gone():
    child = subprocess.Popen(["sleep", "60"])
    process = process_id(child.pid)
    assert comes_to(process, "running")
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert comes_to(process, "gone")
    child.wait()
    assert status(process) == "gone"


@LINUX
def test_a_stopped_process_still_runs():
    child = subprocess.Popen(["sleep", "60"])
    child.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    assert comes_to(process_id(child.pid), "running")
    child.kill()
    child.wait()


def test_a_number_that_went_to_another_process_is_gone(machine):
    machine.process(ProcessId(77, 500))
    assert status(ProcessId(77, 500), machine.proc) == "running"
    assert status(ProcessId(77, 499), machine.proc) == "gone"
    assert status(ProcessId(77, 0), machine.proc) == "running"
    assert status(ProcessId(78, 500), machine.proc) == "gone"


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({"state": "R"}, "running"),
        ({"state": "D"}, "stuck"),
        ({"state": "R", "flags": 0x40404C}, "stuck"),  # exits, and does not come to an end
        ({"state": "S", "pending": 1 << 8}, "stuck"),  # SIGKILL waits
        ({"state": "S", "pending": 1 << 14}, "running"),  # SIGTERM waits
        ({"state": "T"}, "running"),
        ({"state": "Z", "flags": 0x40404C}, "gone"),
        ({"state": "X"}, "gone"),
    ],
)
def test_a_process_is_judged_by_its_state(machine, how, expected):
    machine.process(ProcessId(77, 500), **how)
    assert status(ProcessId(77, 500), machine.proc) == expected


def test_a_zombie_whose_thread_is_left_in_the_driver_is_stuck(machine):
    machine.process(ProcessId(77, 500), "Z", flags=0x40404C)
    machine.thread(machine.proc / "77/task/78", ProcessId(78, 501), "D")
    assert status(ProcessId(77, 500), machine.proc) == "stuck"


@pytest.mark.parametrize("text", ["", "77", "77 (a", "77 (a) S", "77 (a) " + "x " * 40, "\0\xff"])
def test_a_damaged_proc_file_is_no_process(machine, text):
    machine.process(ProcessId(77, 500))
    (machine.proc / "77/stat").write_text(text)
    assert status(ProcessId(77, 500), machine.proc) == "gone"


def test_without_proc_a_process_is_known_by_its_number(tmp_path):
    child = subprocess.Popen(["sleep", "60"])
    process = process_id(child.pid, tmp_path)
    assert process == ProcessId(child.pid, 0)
    assert status(process, tmp_path) == "running"
    child.kill()
    child.wait()
    assert status(process, tmp_path) == "gone"
    assert boot_id(tmp_path) == machine_id(tmp_path) == ""
