"""The kernel's log: its two sources, its clock, and its time limit."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from forge.doctor import after_a_fault, kernel_log
from forge.doctor.kernel_log import KernelLog, read

from .trees import write

RESET = "amdgpu 0000:c5:00.0: amdgpu: GPU reset begin!"
JOURNAL = f"""\
import sys
print("[    1.500000] box kernel: Linux version 6.12")
print("[  200.250000] box kernel: {RESET}")
print("[  201.000000] box sshd[44]: kernel: {RESET}")
"""


def kmsg(root: Path, *records: str) -> None:
    write(root, "dev/kmsg", "".join(f"{record}\n" for record in records))


def test_a_record_is_a_line_and_its_time(tmp_path: Path) -> None:
    kmsg(
        tmp_path,
        "6,1,1000000,-;first; with a semicolon",
        " SUBSYSTEM=pci",
        " DEVICE=+pci:0000:c5:00.0",
        "3,2,2500000,-,caller=T1;second",
        "nonsense",
    )
    log = read(tmp_path)
    assert [(line.at, line.text) for line in log.lines] == [
        (1.0, "first; with a semicolon"),
        (2.5, "second"),
    ]
    assert (log.source, log.readable) == ("/dev/kmsg", True)


def test_only_lines_since_a_moment_are_returned_with_room_for_drift(tmp_path: Path) -> None:
    kmsg(tmp_path, *(f"6,{n},{n}000000,-;line {n}" for n in range(1, 2001)))
    log = read(tmp_path, since=1990.0)
    assert [line.text for line in log.lines] == [f"line {n}" for n in range(1989, 2001)]


def test_after_a_fault_says_what_the_kernel_said_since(tmp_path: Path) -> None:
    kmsg(tmp_path, f"3,1,5000000,-;{RESET}", "6,2,90000000,-;usb 1-1: new device")
    assert [hit.signature for hit in after_a_fault(4.0, tmp_path)] == ["gpu_reset"]
    assert after_a_fault(60.0, tmp_path) == ()


def test_a_log_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    assert read(tmp_path) == KernelLog(why="/dev/kmsg: No such file or directory")
    (tmp_path / "dev/kmsg").mkdir(parents=True)
    assert "no device" in read(tmp_path).why
    assert after_a_fault(0.0, tmp_path) == ()


def test_a_pipe_in_the_logs_place_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    os.mkfifo(tmp_path / "dev/kmsg")
    assert not read(tmp_path).readable


def test_an_endless_log_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kmsg").symlink_to("/dev/zero")
    log = read(tmp_path, seconds=5)
    assert log.lines == ()
    assert log.readable


def journal(script: str, seconds: float = 10.0) -> KernelLog:
    return kernel_log._journal([sys.executable, "-c", script], time.monotonic() + seconds)


def test_the_journal_has_the_same_lines() -> None:
    log = journal(JOURNAL)
    assert [(line.at, line.text) for line in log.lines] == [
        (1.5, "Linux version 6.12"),
        (200.25, RESET),
    ]
    assert log.source == "journalctl"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("import time; time.sleep(1000)", "it takes too long"),
        ("print('-- No entries --')", "shows no lines to this account"),
        ("import sys; sys.exit(1)", "shows no lines to this account"),
        ("print('\\0' * 5000)", "shows no lines to this account"),
    ],
)
def test_a_journal_that_is_of_no_use_says_why(script: str, why: str) -> None:
    assert why in journal(script, 0.7).why


def test_a_journal_that_never_ends_gives_what_it_gave() -> None:
    log = journal(f"{JOURNAL}sys.stdout.flush()\nimport time\ntime.sleep(1000)", 1.5)
    assert len(log.lines) == 2


def test_there_may_be_no_journal() -> None:
    log = kernel_log._journal(["/nonexistent/journalctl"], time.monotonic() + 1)
    assert log.why == "/nonexistent/journalctl: No such file or directory"
