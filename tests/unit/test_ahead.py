"""A worker that is started before its engine."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path

import pytest

from forge import BackendSpec, Engine
from forge.ahead import Ahead
from forge.errors import BackendLost
from forge.worker_options import WorkerOptions

CPU = BackendSpec("cpu", "forge_cpu.backend:CpuBackend", floor=True)
WAIT = (sys.executable, "-c", "import sys; sys.stdin.read(); import time; time.sleep(60)")


def test_it_is_taken_by_who_asks_for_just_that():
    with closing(Ahead()) as ahead:
        ahead.start(WAIT, {"A": "1"})
        first = ahead.take(WAIT, {"A": "1"})
        second = ahead.take(WAIT, {"A": "1"})
        try:
            assert first.process.pid != second.process.pid
            assert first.process.poll() is None
        finally:
            assert first.kill(5)
            assert second.kill(5)


def test_it_ends_where_something_else_is_asked_for():
    with closing(Ahead()) as ahead:
        ahead.start(WAIT, {"A": "1"})
        unwanted = ahead._process
        other = ahead.take(WAIT, {"A": "2"})
        assert other is not unwanted
        assert other.kill(5)
        assert unwanted is not None
        assert unwanted.process.poll() is not None


def test_it_ends_with_its_owner_if_nobody_takes_it():
    with closing(Ahead()) as ahead:
        ahead.start(WAIT, {})
        process = ahead._process
    assert process is not None
    assert process.process.poll() is not None


def test_an_engine_uses_it(tiny_chat: Path):
    options = WorkerOptions(None, threads=1)
    with closing(Ahead()) as ahead:
        ahead.start(options.command, options.environment(CPU))
        assert ahead._process is not None
        pid = ahead._process.process.pid
        with Engine.open(tiny_chat, backend=CPU, threads=1, context=64, ahead=ahead) as engine:
            assert engine.worker_pid == pid


def test_a_program_that_is_not_there_is_said_when_it_is_started():
    with closing(Ahead()) as ahead, pytest.raises(BackendLost):
        ahead.start(("/nowhere/python",), {})
