"""Who is slow is not always the worker: a stopped host, a consumer that pauses, a cancel."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from forge.errors import BackendHung, UsageError
from forge.events import Prefill, Token
from forge.testing import write_tiny
from forge.testing.faulty import faulty

from .conftest import COUNT, CPU, GREEDY, PROMPT, ask
from .test_leftovers import host, until, worker  # noqa: F401  # host is a fixture

SLOW = faulty("cpu", of=CPU, fault="slow", phase="decode", seconds=0.05, floor=True)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_a_host_that_was_stopped_for_longer_than_the_budget_kills_nothing(number, host) -> None:  # noqa: F811
    process = host("close")
    pid = worker(process)
    until(process, "Token")
    process.send_signal(number)
    time.sleep(2.5)
    os.kill(pid, 0)
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=20)
    assert out.splitlines()[-1] == "done length 0"


def test_a_host_stopped_while_the_worker_loads_kills_nothing(host) -> None:  # noqa: F811
    process = host("close")
    worker(process)
    until(process, "Loading open")
    process.send_signal(signal.SIGSTOP)
    time.sleep(2.5)
    process.send_signal(signal.SIGCONT)
    out, _ = process.communicate(timeout=20)
    assert out.splitlines()[-1] == "done length 0"


def test_a_consumer_that_pauses_for_longer_than_the_budget_loses_nothing(
    supervise, undisturbed
) -> None:
    def pause(event, reply) -> None:
        if isinstance(event, Prefill) or len(reply.tokens) == 3:
            time.sleep(0.8 if isinstance(event, Token) else 0.5)

    reply = ask(supervise(SLOW), on_event=pause)
    assert reply.fallbacks == []
    assert reply.tokens == undisturbed(GREEDY)


def test_a_large_request_to_a_stopped_worker_falls_back_within_its_budget(
    supervise, tmp_path
) -> None:
    model = write_tiny(tmp_path / "long.gguf", context=140_000, layers=1)
    supervisor = supervise(CPU, model=str(model), context=131_000)
    list(supervisor.load())
    os.kill(supervisor.runner.pid, signal.SIGSTOP)
    events = supervisor.generate([200] * 130_999, GREEDY, 1, [])
    started = time.monotonic()
    fallback = next(events)
    assert time.monotonic() - started < 4
    assert "no progress" in fallback.reason
    assert type(supervisor.failures["cpu"]) is BackendHung
    events.close()


def test_a_cancel_from_another_thread_ends_the_reply_and_keeps_the_worker(
    supervise, undisturbed
) -> None:
    supervisor = supervise(SLOW)
    list(supervisor.load())
    pid = supervisor.runner.pid
    timer = threading.Timer(0.2, supervisor.cancel)
    timer.start()
    reply = ask(supervisor)
    timer.join()
    assert reply.reason == "cancelled"
    assert 0 < len(reply.tokens) < COUNT
    assert reply.tokens == undisturbed(GREEDY)[: len(reply.tokens)]
    again = ask(supervisor)
    assert supervisor.runner.pid == pid
    assert again.tokens == undisturbed(GREEDY)
    assert supervisor.runner.pace.prefilled == 1  # all the rest was in the cache


def test_a_reply_left_in_the_middle_keeps_the_worker_and_its_prefix(supervise, undisturbed) -> None:
    supervisor = supervise(SLOW)
    list(supervisor.load())
    pid = supervisor.runner.pid
    events = supervisor.generate(PROMPT, GREEDY, COUNT, [])
    while not isinstance(next(events), Token):
        pass
    events.close()
    again = ask(supervisor)
    assert again.fallbacks == []
    assert supervisor.runner.pid == pid
    assert again.tokens == undisturbed(GREEDY)
    assert supervisor.runner.pace.prefilled == 1


def test_a_cancel_is_noticed_between_tokens_that_are_there_already(supervise) -> None:
    supervisor = supervise(CPU)
    list(supervisor.load())

    def cancel(event, reply) -> None:
        if len(reply.tokens) == 2:
            time.sleep(0.2)  # all the others have arrived by now
            supervisor.cancel()

    reply = ask(supervisor, on_event=cancel)
    assert reply.reason == "cancelled"
    assert len(reply.tokens) == 2


@pytest.mark.parametrize("phase", ["open", "load", "compile", "check", "prefill", "decode"])
def test_a_cancel_while_the_worker_hangs_returns_soon(phase, supervise) -> None:
    hung = faulty("hung", of=CPU, fault="hang", phase=phase)
    supervisor = supervise(hung, CPU, patience=100)
    timer = threading.Timer(0.6, supervisor.cancel)
    timer.start()
    reply = ask(supervisor)
    ended = time.monotonic()
    timer.join()
    assert reply.reason == "cancelled"
    assert reply.fallbacks == []
    assert time.monotonic() - ended < 1


def test_the_request_after_a_cancelled_hang_falls_back(supervise, undisturbed) -> None:
    hung = faulty("hung", of=CPU, fault="hang", phase="decode", step=2)
    supervisor = supervise(hung, CPU)

    def cancel(event, reply) -> None:
        if len(reply.tokens) == 2:
            supervisor.cancel()

    assert ask(supervisor, on_event=cancel).reason == "cancelled"
    reply = ask(supervisor)
    assert [f.source for f in reply.fallbacks] == ["hung"]
    assert reply.tokens == undisturbed(GREEDY)


def test_logits_left_between_two_blocks_do_not_spoil_what_follows(supervise, tmp_path) -> None:
    model = write_tiny(tmp_path / "long.gguf", context=2048)
    supervisor = supervise(CPU, model=str(model), context=2048)
    list(supervisor.load())
    pid = supervisor.runner.pid
    tokens = [(7 * i) % 256 for i in range(1300)]
    whole = list(supervisor.logits(tokens))
    assert [len(block) for block in whole] == [512, 512, 276]
    left = supervisor.logits(tokens)
    next(left)
    left.close()
    short = list(supervisor.logits(tokens[:100]))
    assert [len(block) for block in short] == [100]
    assert abs(short[0] - whole[0][:100]).max() < 1e-4
    assert ask(supervisor).reason == "length"
    assert supervisor.runner.pid == pid


def test_a_reply_that_another_one_has_replaced_says_so(supervise, undisturbed) -> None:
    supervisor = supervise(CPU)
    first = supervisor.generate(PROMPT, GREEDY, COUNT, [])
    while not isinstance(next(first), Token):
        pass
    assert ask(supervisor).tokens == undisturbed(GREEDY)
    with pytest.raises(UsageError, match="given up"):
        for _ in first:
            pass
    assert ask(supervisor).fallbacks == []
