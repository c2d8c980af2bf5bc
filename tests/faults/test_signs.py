"""Silence is told from a hang: by what the kernel says of a process, and the host's own clock."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from forge.budgets import Budgets
from forge.channel import Channel
from forge.dialogue import Dialogue
from forge.errors import BackendError, BackendHung
from forge.frames import frame
from forge.messages import Failed, Generate, Hello, Tokens
from forge.signs import Signs, held, signs, whereabouts

SPIN = "import os\nos.sched_setaffinity(0, {0})\nwhile True: pass"


@pytest.fixture
def spinners() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Three processes that want one core."""
    made = [subprocess.Popen([sys.executable, "-S", "-c", SPIN]) for _ in range(3)]
    yield made
    for process in made:
        process.kill()
        process.wait()


def until(true, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_process_that_lacks_a_core_shows_it(spinners) -> None:
    pid = spinners[0].pid
    before = signs(pid)
    until(lambda: signs(pid).since(before)[0] > 0.3)


def test_a_process_that_sleeps_gives_no_sign() -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time\ntime.sleep(60)"])
    try:
        until(lambda: whereabouts(process.pid)[0].startswith("S"))
        time.sleep(0.2)
        before = signs(process.pid)
        time.sleep(0.5)
        delayed, pages = signs(process.pid).since(before)
        assert delayed < 0.1
        assert pages == 0
    finally:
        process.kill()
        process.wait()


def test_of_a_process_that_is_gone_nothing_is_said() -> None:
    process = subprocess.Popen(["true"])
    process.wait()
    assert signs(process.pid) == Signs({}, 0)
    assert whereabouts(process.pid) == ()


class Edge:
    """What a channel needs of a process: a socket, and what the kernel says, as a test has it."""

    open = True

    def __init__(self, *told: Signs) -> None:
        self.socket, self.other = socket.socketpair()
        self.socket.setblocking(False)
        self._told = list(told)

    def signs(self) -> Signs:
        return self._told.pop(0) if len(self._told) > 1 else self._told[0]

    def traced(self) -> bool:
        return False

    def tidy(self) -> None:
        pass

    def say(self, *messages) -> None:
        self.other.sendall(b"".join(frame(message) for message in messages))

    def close(self) -> None:
        self.socket.close()
        self.other.close()


@pytest.fixture
def edge() -> Iterator:
    made: list[Edge] = []

    def edge(*told: Signs) -> Edge:
        made.append(Edge(*(told or [Signs({}, 0)])))
        return made[-1]

    yield edge
    for one in made:
        one.close()


def waited(channel: Channel, seconds: float) -> float:
    started = time.monotonic()
    with pytest.raises(BackendHung):
        channel.receive(seconds)
    return time.monotonic() - started


def test_time_for_which_a_worker_lacked_a_core_does_not_count(edge) -> None:
    lacking = [Signs({"1": delay}, 0) for delay in (0.0, 0.4, 0.8, 0.8)]
    assert waited(Channel(edge(*lacking)), 0.5) > 1.2
    assert waited(Channel(edge()), 0.5) < 1.0


def test_a_worker_whose_pages_come_from_a_disk_is_given_time_but_not_for_ever(edge) -> None:
    coming = [Signs({}, page) for page in range(1000)]
    took = waited(Channel(edge(*coming)), 0.3)
    assert 2.5 < took < 6


def test_quick_pieces_that_came_together_share_the_time(edge) -> None:
    worker = edge()
    channel = Channel(worker)
    budgets = Budgets()
    dialogue = Dialogue(channel, budgets)
    number = dialogue.begin("decode")
    worker.say(Hello(1))
    dialogue.receive(lambda: False)
    started = time.monotonic()
    pid = os.fork()
    if pid == 0:  # answers come from another process, as a worker's do
        for _ in range(4):
            time.sleep(0.06)
            worker.say(Tokens(number, [1]))
        os._exit(0)
    for _ in range(4):
        dialogue.receive(lambda: False, number)
    os.waitpid(pid, 0)
    took = time.monotonic() - started
    assert 0.05 < budgets.paces.p99("decode", 0) < 1.4 * took  # of a bin's edge, of all four


def test_a_reader_that_was_away_teaches_nothing_wrong(edge) -> None:
    worker = edge()
    budgets = Budgets()
    dialogue = Dialogue(Channel(worker), budgets)
    number = dialogue.begin("decode")
    worker.say(*[Tokens(number, [1])] * 50)
    for _ in range(25):
        dialogue.receive(lambda: False, number)
    time.sleep(1.0)
    for _ in range(25):
        dialogue.receive(lambda: False, number)
    assert (budgets.paces.p99("decode", 0) or 0.0) < 0.5


def test_a_stopped_worker_is_no_busy_one(edge) -> None:
    process = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    try:
        os.kill(process.pid, signal.SIGSTOP)
        until(lambda: whereabouts(process.pid)[0].startswith("T"))
        worker = edge()
        worker.signs = lambda: signs(process.pid)
        assert waited(Channel(worker), 0.6) < 1.2
    finally:
        process.kill()
        process.wait()


def test_a_request_is_not_timed_by_the_one_before(edge) -> None:
    worker = edge()
    budgets = Budgets()
    dialogue = Dialogue(Channel(worker), budgets)
    time.sleep(0.5)
    number = dialogue.begin("idle")
    dialogue.send(Generate(number, [1], 1, [], {}))
    worker.say(Tokens(number, [1]))
    dialogue.receive(lambda: False, number)
    assert (budgets.paces.p99("decode", 0) or 0.0) < 0.3


def test_time_for_which_nobody_is_to_blame_teaches_nothing(edge) -> None:
    worker = edge(Signs({"1": 0.0}, 0), Signs({"1": 1.0}, 0))
    budgets = Budgets()
    dialogue = Dialogue(Channel(worker), budgets)
    number = dialogue.begin("decode")
    budgets.seconds = lambda *_: 0.6
    threading.Timer(1.0, worker.say, [Tokens(number, [1])]).start()
    dialogue.receive(lambda: False, number)
    assert budgets.paces.p99("decode", 0) is None


def test_a_worker_in_a_debugger_is_waited_for(edge) -> None:
    ptrace = ctypes.CDLL(None, use_errno=True).ptrace
    process = subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"])
    try:
        assert not held(process.pid)
        if ptrace(16, process.pid, None, None):  # PTRACE_ATTACH
            pytest.skip(f"this system lets nobody debug: {os.strerror(ctypes.get_errno())}")
        until(lambda: held(process.pid))
        worker = edge()
        worker.traced = lambda: held(process.pid)
        end = time.monotonic() + 1.5
        assert Channel(worker).receive(0.3, lambda: time.monotonic() > end) is None
        assert ptrace(17, process.pid, None, None) == 0  # PTRACE_DETACH
        until(lambda: not held(process.pid))
        assert waited(Channel(worker), 0.3) < 1.2
    finally:
        process.kill()
        process.wait()


def test_weights_that_come_from_a_slow_disk_all_the_while_are_waited_for(edge) -> None:
    coming = [Signs({}, page) for page in range(1000)]
    end = time.monotonic() + 2
    waiting = Channel(edge(*coming)).receive(0.1, lambda: time.monotonic() > end, 60.0)
    assert waiting is None  # more than ten budgets later
    large = Budgets(weights=10 * 10**9)
    assert large.longest() == 0  # a start needs no weights
    large.phase = "prefill"
    assert large.longest() >= 10 * 10**9 / 50e6


@pytest.mark.parametrize("kind", ["StoreError", "PluginError", "OutputError", "NoBackend", "int"])
def test_an_error_that_no_worker_can_mean_is_its_backends(kind, edge) -> None:
    worker = edge()
    dialogue = Dialogue(Channel(worker), Budgets())
    number = dialogue.begin("decode")
    worker.say(Failed(number, kind, "a bug"))
    with pytest.raises(BackendError, match="a bug") as caught:
        dialogue.receive(lambda: False, number)
    assert type(caught.value) is BackendError
