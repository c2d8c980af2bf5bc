"""What is done to a worker, or to the host, in each row of the matrix."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

from tests.faults.conftest import CPU, GREEDY, PROMPT, SEEDED, Reply, ask
from tests.faults.test_leftovers import gone

from forge.budgets import MARGIN, SECONDS, Budgets
from forge.errors import BackendHung, BackendLost, BackendOutOfMemory, BackendWrong
from forge.events import Event, Loading, Ready, Token
from forge.process import WorkerProcess
from forge.state.folder import state_folder
from forge.supervisor import Supervisor
from forge.testing.faulty import faulty

from .cells import ABORT, HANG, HOST, NAN, OOM, SEGFAULT, SLOW, STUCK, WORKER, WRONG, Found
from .stage import GPU, Stage, Stuck, accused, now, phases, ready, record

SCRIPTS = {
    HANG: ("hang", BackendHung),
    STUCK: ("hang", BackendHung),
    ABORT: ("abort", BackendLost),
    SEGFAULT: ("segfault", BackendLost),
    NAN: ("nan", BackendWrong),
    WRONG: ("wrong", BackendWrong),
    OOM: ("oom", BackendOutOfMemory),
}
STEPS = {"load": 5, "decode": 3}
_STRIKES = {
    HANG: signal.SIGSTOP,
    STUCK: signal.SIGSTOP,
    ABORT: signal.SIGABRT,
    SEGFAULT: signal.SIGSEGV,
    WORKER: signal.SIGKILL,
}
_PACE, _FLOOR, _LEAST = 0.01, 0.02, 1e-6
_SLOWNESS = 3
_WHOLE = ("start", "open")
"""Phases of one piece, which takes some time of its own; nobody knows the device yet."""
_DEVICE = "0"
_HOST = Path(__file__).parent / "host.py"


def play(stage: Stage, row: str, column: str) -> Found:
    """One cell of the matrix; an AssertionError where the promise is broken."""
    if row == HOST:
        return host_killed(stage, column)
    if row == SLOW:
        return slow(stage, column)
    if column == "idle":
        return struck_while_idle(stage, row)
    if row == WORKER:
        return struck_at_work(stage, column)
    return scripted(stage, row, column)


def bad(stage: Stage, row: str, column: str):
    """A backend called gpu that has the row's fault in the column's phase."""
    fault, _ = SCRIPTS[row]
    step = STEPS.get(column, 1)
    return faulty("gpu", of=CPU, fault=fault, phase=column, step=step, diary=stage.diary)


def scripted(stage: Stage, row: str, column: str) -> Found:
    """A backend that does it to itself."""
    process = Stuck if row == STUCK else WorkerProcess
    params = SEEDED if column in ("prefill", "decode") else GREEDY
    seconds = stage.options.seconds if row in (HANG, STUCK) else SECONDS
    supervisor = stage.process(bad(stage, row, column), CPU, process=process, seconds=seconds)
    reply = ask(supervisor, params)
    tries = 2 if row == OOM else 1
    assert [(f.source, f.target) for f in reply.fallbacks] == [
        *[("gpu", "gpu")] * (tries - 1),
        ("gpu", "cpu"),
    ]
    if (row, column) == (WRONG, "decode"):
        stage.continues(reply, params)
        assert reply.fallbacks[0].at_token >= STEPS["decode"]
    else:
        stage.completes(reply, params)
        shown = reply.fallbacks[0].at_token
        assert shown == (STEPS["decode"] if column == "decode" else 0)
    if column not in ("prefill", "decode"):
        assert ready(reply) == ["cpu"]
    known = record(reply.fallbacks[0])
    assert known["kind"] == SCRIPTS[row][1].__name__
    assert known["left_behind"] is (row == STUCK)
    blameless = row == OOM or column == "start"  # no driver is loaded yet
    assert bool(accused()) is not blameless
    if row in (HANG, STUCK):
        assert known["phase"] == column
        assert known["age_s"] >= known["budget_s"]
    return noticed(row, column, known["when"] - stage.begun(), known["budget_s"])


def noticed(row: str, column: str, detected: float, budget: float) -> Found:
    """In time."""
    assert 0 <= detected <= 2 * budget
    return Found(row, column, detected, budget)


def struck_while_idle(stage: Stage, row: str) -> Found:
    """A worker that something happens to between two replies; it is noticed at the next."""
    process = Stuck if row == STUCK else WorkerProcess
    seconds = stage.options.seconds if row in (HANG, STUCK) else SECONDS
    supervisor = stage.process(GPU, CPU, process=process, seconds=seconds)
    stage.completes(ask(supervisor))
    pid = supervisor.runner.pid
    os.kill(pid, _STRIKES[row])
    if row not in (HANG, STUCK):
        assert gone(pid)
    begun = now()
    reply = ask(supervisor, SEEDED)
    stage.completes(reply, SEEDED)
    (fallback,) = reply.fallbacks
    assert (fallback.source, fallback.target, fallback.at_token) == ("gpu", "cpu", 0)
    known = record(fallback)
    assert known["phase"] == "idle"
    assert known["left_behind"] is (row == STUCK)
    stopped = row == HANG  # from outside, as a worker that is killed
    assert bool(accused()) is not (stopped or row == WORKER)
    return noticed(row, "idle", known["when"] - begun, known["budget_s"])


def struck_at_work(stage: Stage, column: str) -> Found:
    """SIGKILL from outside while the worker is at it: the reply moves, no device is accused."""
    pause = 0.03 if column in ("load", "decode") else 0.4
    spec = faulty("gpu", of=CPU, fault="slow", phase=column, seconds=pause)
    supervisor = stage.process(spec, CPU, seconds=SECONDS)
    struck: list[float] = []
    timers: list[threading.Timer] = []

    def strike() -> None:
        if not struck:
            struck.append(now())
            os.kill(supervisor.runner.pid, signal.SIGKILL)

    def on_event(event: Event, reply: Reply) -> None:
        if column == "prefill" and isinstance(event, Ready) and not timers:
            timers.append(threading.Timer(0.1, strike))
            timers[0].start()
        elif _reached(event, reply, column):
            strike()

    if column == "start":
        supervisor.spawn()
        strike()
    reply = ask(supervisor, on_event=on_event)
    for timer in timers:
        timer.join()
    stage.completes(reply)
    (fallback,) = reply.fallbacks
    assert (fallback.source, fallback.target) == ("gpu", "cpu")
    assert "SIGKILL, not by forge" in fallback.reason
    known = record(fallback)
    assert known["phase"] == column
    assert known["struck"]
    assert accused() == []
    return noticed(WORKER, column, known["when"] - struck[0], known["budget_s"])


def _reached(event: Event, reply: Reply, column: str) -> bool:
    """Whether the worker is at the phase now."""
    if isinstance(event, Loading):
        whole = event.total > 1 and event.phase == "load"  # the model's own weights
        return {
            "open": event.phase == "open",
            "load": whole and event.done == STEPS["load"],
            "compile": whole and event.done == event.total,
        }.get(column, False)
    return column == "decode" and isinstance(event, Token) and len(reply.tokens) == STEPS["decode"]


def slow(stage: Stage, column: str) -> Found:
    """A backend whose pace is known, at a third of it: nobody is killed."""
    _paced(stage, column, 0.0 if column in _WHOLE else _PACE, stage.options.seconds[column] * 4)
    budgets = Budgets(1.0, {column: _LEAST})
    device = "" if column in _WHOLE else _DEVICE
    budgets.paces = stage.process(GPU)._past.paces(GPU)(device)
    if column == "prefill":
        budgets.chunk(len(PROMPT))
    learned = budgets.seconds(column) / MARGIN
    assert learned > _LEAST
    pause = learned * (_SLOWNESS - (column in _WHOLE))
    budget = _paced(stage, column, pause, _FLOOR)
    assert budget > _FLOOR
    return Found(SLOW, column, learned * _SLOWNESS, budget, "no kill")


def _paced(stage: Stage, column: str, pause: float, floor: float) -> float:
    """A process of forge whose worker pauses before each piece of the phase; nobody minds.

    Returns the budget of the first one.
    """
    scripted = (
        faulty("gpu", of=CPU, fault="slow", phase=column, seconds=pause, diary=stage.diary)
        if column != "idle"
        else GPU
    )
    supervisor = stage.process(scripted, CPU, seconds={**stage.options.seconds, column: floor})
    budgets: list[float] = []

    def on_event(event: Event, reply: Reply) -> None:
        if supervisor.runner.phase == column:
            budgets.append(supervisor.runner.budget_s)

    supervisor.spawn()
    if column == "start":
        budgets.append(supervisor.runner.budget_s)
    reply = ask(supervisor, on_event=on_event)
    stage.completes(reply)
    assert reply.fallbacks == []
    if column == "idle":
        budgets = [_asked_while_stopped(stage, supervisor, pause)]
    supervisor.close()
    return budgets[0]


def _asked_while_stopped(stage: Stage, supervisor: Supervisor, pause: float) -> float:
    """The worker goes on a moment after it was asked; the budget that it had."""
    pid = supervisor.runner.pid
    budget = supervisor.runner._budgets.seconds("idle")
    os.kill(pid, signal.SIGSTOP)
    timer = threading.Timer(pause, os.kill, [pid, signal.SIGCONT])
    timer.start()
    reply = ask(supervisor, SEEDED)
    timer.join()
    stage.completes(reply, SEEDED)
    assert reply.fallbacks == []
    return budget


def host_killed(stage: Stage, column: str) -> Found:
    """The next process answers, accuses nobody, and asks for known answers first."""
    shutil.copytree(stage.proven, state_folder(), dirs_exist_ok=True)
    command = [sys.executable, "-P", str(_HOST), str(stage.options.model), column]
    host = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=40)
    assert host.returncode == -signal.SIGKILL
    assert gone(int(host.stdout.split()[-1]))
    reply = ask(stage.process(GPU, CPU), SEEDED)
    stage.completes(reply, SEEDED)
    assert reply.fallbacks == []
    assert accused() == []
    if column == "idle":
        assert phases(reply)[:2] == ["open", "load"]
        return Found(HOST, column, None, None, "nothing to recover")
    assert phases(reply) == ["open", "compile", "check", "load"]
    return Found(HOST, column, None, None, "recovered, probed first")
