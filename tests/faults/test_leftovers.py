"""No process, no descriptor and no zombie stays behind, however the host ends."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from forge.errors import BackendLost
from forge.events import Token
from forge.process import WorkerProcess
from forge.testing.faulty import faulty

from .conftest import CPU, GREEDY, ask

HOST = Path(__file__).parent / "host.py"


def alive(pid: int) -> bool:
    """Whether the process still is; a zombie counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def gone(pid: int, seconds: float = 3.0) -> bool:
    """Whether it ends within that time. A host's orphan is reaped by init, or stays a zombie."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def host(model):
    """Start `host.py`; ended when the test is over."""
    started: list[subprocess.Popen[str]] = []

    def host(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", str(HOST), str(model), *arguments]
        started.append(
            subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                process_group=0,  # the kernel drops SIGTSTP to a group without a parent to wake it
            )
        )
        return started[-1]

    yield host
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def worker(process) -> int:
    word, pid = process.stdout.readline().split()
    assert word == "pid"
    return int(pid)


def until(process, word: str) -> None:
    for line in process.stdout:
        if line.startswith(word):
            return
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize(
    ("fault", "phase", "seen"),
    [
        ("slow", "decode", "Token"),
        ("hang", "decode", "Token"),
        ("busy-hang", "decode", "Token"),
        ("hang", "open", "Loading open"),
        ("busy-hang", "load", "Loading load"),
        ("busy-hang", "start", ""),
        ("hang", "start", ""),
    ],
)
def test_a_worker_ends_when_its_host_is_killed_whatever_it_is_doing(
    fault, phase, seen, host
) -> None:
    process = host("patient", fault, phase)
    pid = worker(process)
    if seen:
        until(process, seen)
    time.sleep(0.4)  # into the fault
    assert alive(pid)
    process.kill()
    assert gone(pid)


def test_a_stopped_worker_ends_when_its_host_is_killed(host) -> None:
    process = host("patient")
    pid = worker(process)
    until(process, "Token")
    os.kill(pid, signal.SIGSTOP)
    process.kill()
    assert gone(pid)


@pytest.mark.parametrize("what", ["close", "leave", "raise"])
def test_a_worker_ends_with_its_host(what, host) -> None:
    process = host(what)
    pid = worker(process)
    _, errors = process.communicate(timeout=20)
    assert gone(pid)
    assert ("a host with a bug" in errors) == (what == "raise")
    assert "Warning" not in errors


def test_an_interrupt_while_loading_ends_host_and_worker(host) -> None:
    process = host("patient", "hang", "load")
    pid = worker(process)
    until(process, "Loading load")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=10)
    assert "KeyboardInterrupt" in errors
    assert gone(pid)


def test_interrupts_at_any_moment_leave_no_process_and_no_descriptor(supervise) -> None:
    ask(supervise(CPU))  # whatever is opened once
    before, had = open_descriptors(), children()
    pids = set()
    hits = 0
    for step in range(18):
        supervisor = supervise(CPU)
        timer = threading.Timer(step * 0.016, os.kill, [os.getpid(), signal.SIGINT])
        try:
            timer.start()
            supervisor.spawn()
            pids.add(supervisor.runner.pid)
            ask(supervisor)
            timer.join()
            time.sleep(0.01)
        except KeyboardInterrupt:
            hits += 1
        supervisor.close()
        timer.join()
    gc.collect()
    assert hits > 9
    assert not [pid for pid in pids if alive(pid)]
    assert children() == had
    assert open_descriptors() == before


def test_after_an_interrupt_the_same_supervisor_replies_without_a_fallback(
    supervise, undisturbed
) -> None:
    slow = faulty("cpu", of=CPU, fault="slow", phase="decode", seconds=0.02, floor=True)
    supervisor = supervise(slow)
    list(supervisor.load())
    for wait in (0.05, 0.09, 0.13):
        timer = threading.Timer(wait, os.kill, [os.getpid(), signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            ask(supervisor)
        timer.join()
        reply = ask(supervisor)
        assert reply.fallbacks == []
        assert reply.tokens == undisturbed(GREEDY)


def children() -> set[int]:
    """The processes that this one has started and not reaped."""
    found = set()
    for task in Path("/proc/self/task").iterdir():
        found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_fifteen_workers_leave_nothing_open(supervise) -> None:
    before, had = open_descriptors(), children()
    for number in range(15):
        spec = CPU
        if number % 3 == 1:
            spec = faulty("dies", of=CPU, fault="die", phase="open")
        supervisor = supervise(spec, CPU) if spec is not CPU else supervise(CPU)
        events = supervisor.load()
        if number % 3 == 2:
            next(events)  # left while it loads
        else:
            list(events)
        supervisor.close()
        events.close()
    assert open_descriptors() == before
    assert children() == had


def test_a_supervisor_that_is_forgotten_ends_its_worker(options) -> None:
    from forge.supervisor import Supervisor

    supervisor = Supervisor([CPU], options)
    list(supervisor.load())
    pid = supervisor.runner.pid
    before = open_descriptors()
    del supervisor
    gc.collect()
    assert not alive(pid)
    assert open_descriptors() == before - 4


def test_what_a_worker_has_started_ends_with_it(tmp_path) -> None:
    command = ("/bin/sh", "-c", "sleep 60 & echo $!; exec sleep 60")
    worker = WorkerProcess(command, dict(os.environ))
    end = time.monotonic() + 5
    while not worker.log_tail().strip() and time.monotonic() < end:
        time.sleep(0.02)
    child = int(worker.log_tail())
    assert worker.kill(2)
    assert gone(child)


def test_a_command_that_does_not_exist_is_a_lost_backend_and_leaves_nothing_open() -> None:
    before = open_descriptors()
    with pytest.raises(BackendLost, match="cannot be started"):
        WorkerProcess(("/no/such/command",), {})
    assert open_descriptors() == before


def test_a_host_without_standard_streams_has_workers_all_the_same(model) -> None:
    command = f'exec "{sys.executable}" -P "{HOST}" "{model}" close <&- 2>&-'
    result = subprocess.run(["/bin/sh", "-c", command], stdout=subprocess.PIPE, text=True)
    assert result.stdout.splitlines()[-1] == "done length 0"


def test_a_worker_with_a_descriptor_above_1023_can_be_cancelled(supervise) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2048:
        pytest.skip(f"the hard limit of open files is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (2048, hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
    try:
        reply = ask(supervise(CPU))
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert reply.fallbacks == []
    assert [type(event) for event in reply.events].count(Token) == 12
