"""A native call that does not return is named in the log, by a thread that can still run."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
from pathlib import Path

from tests.hipsim.build import environment

from forge_hip.runtime.marks import Marks, Teller


def test_a_call_that_stays_away_is_told_with_its_name_and_place() -> None:
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    marks = Marks()
    marks.where = lambda: "layer 3"
    teller = Teller(marks, heard.put, quiet=0.02, look=0.01)
    marks.enter("hipGraphLaunch")
    text = heard.get(timeout=20)
    assert "the driver has not returned for" in text
    assert "layer 3; in hipGraphLaunch" in text
    teller.close()


def test_calls_that_return_are_not_told_of_however_many() -> None:
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    marks = Marks()
    teller = Teller(marks, heard.put, quiet=30, look=0.001)
    for _ in range(1000):
        marks.enter("hipEventQuery")
        marks.leave()
    teller.close()
    assert heard.empty()
    assert marks.place() == ""
    assert marks.calls == 1000


HANGS = """
from forge_hip.runtime.driver import Driver
from forge_hip.runtime.marks import Teller

driver = Driver()
Teller(driver.marks, quiet=0.1, look=0.05)
driver.call("hipMalloc", 4096)
"""


def test_the_log_of_a_hung_process_names_the_call(rocm: Path) -> None:
    """Its main thread sits in the driver with every signal blocked; another one still writes."""
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", HANGS],
        env={**os.environ, **environment(rocm, fault="hipMalloc=hang")},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "has not returned" in line)
        assert "in hipMalloc" in line
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(20)
        process.communicate()
