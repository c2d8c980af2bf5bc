"""What a worker prints is bounded, and its end is there to be read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from forge.log import Log

MOST = 1 << 20


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log(MOST)
    yield log
    log.close()


def prints(log: Log, code: str) -> int:
    """Have another process print into the log, as a driver does."""
    command = [sys.executable, "-S", "-c", code]
    return subprocess.run(command, stdout=log.descriptor, stderr=log.descriptor).returncode


def test_the_end_of_what_was_printed_can_be_read_while_and_after(log) -> None:
    assert log.tail() == ""
    assert prints(log, "print('x' * 5000); print('the end')") == 0
    assert log.tail().endswith("xxx\nthe end\n")
    start = log.position
    prints(log, "print('more')")
    assert log.since(start) == "more\n"
    log.close()
    log.close()
    assert log.tail().endswith("the end\nmore\n")


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="a file that cannot grow is Linux's")
def test_a_driver_that_prints_for_ever_fills_nothing_while_nobody_looks(log) -> None:
    lines = (
        "import os\nfor _ in range(300):\n try: os.write(2, b'y' * 10000)\n except OSError: pass"
    )
    assert prints(log, lines) == 0
    assert os.fstat(log.descriptor).st_size == MOST
    assert log.position <= MOST


def test_what_is_printed_after_the_host_made_room_is_not_lost(log) -> None:
    prints(log, "print('z' * 700_000)")
    log.tidy()
    assert log.position < MOST // 4
    assert log.tail().endswith("zzz\n")
    prints(log, "print('still here')")
    assert log.tail().endswith("zzz\nstill here\n")


def test_little_is_left_as_it_is(log) -> None:
    prints(log, "print('little')")
    log.tidy()
    assert log.tail() == "little\n"


def test_looking_while_another_thread_closes_it_gives_what_was_seen_last(log) -> None:
    prints(log, "print('seen')")
    assert log.tail() == "seen\n"
    os.close(log.descriptor)
    assert log.tail() == "seen\n"
    log.descriptor = os.open(os.devnull, os.O_RDONLY)  # for `close`
