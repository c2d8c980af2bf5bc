"""The floor: killed and stopped from outside, restarted once a reply; and what strict means."""

from __future__ import annotations

import os
import signal

import pytest

from forge.errors import BackendHung, BackendLost, NoBackend
from forge.events import Token
from forge.testing.faulty import faulty

from .conftest import COUNT, CPU, GREEDY, SEEDED, Reply, ask


def strike(supervisor, number: signal.Signals, *at: int):
    """An `on_event` that sends the worker a signal once `at` tokens are there."""

    def on_event(event, reply) -> None:
        if isinstance(event, Token) and len(reply.tokens) in at:
            os.kill(supervisor.runner.pid, number)

    return on_event


@pytest.fixture
def paced(supervise):
    """A CPU worker that waits a little before each token, so that a signal finds it at work."""

    def paced(*first, **changes):
        return supervise(
            *first,
            faulty("cpu", of=CPU, fault="slow", phase="decode", seconds=0.03, floor=True),
            **changes,
        )

    return paced


@pytest.mark.parametrize("params", [GREEDY, SEEDED], ids=["greedy", "seeded"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_struck_in_the_middle_of_a_reply_is_replaced(
    number, params, paced, undisturbed
) -> None:
    supervisor = paced()
    reply = ask(supervisor, params, on_event=strike(supervisor, number, 4))
    assert reply.tokens == undisturbed(params)
    (fallback,) = reply.fallbacks
    assert (fallback.source, fallback.target) == ("cpu", "cpu")
    assert 4 <= fallback.at_token < COUNT
    kind = {signal.SIGKILL: BackendLost, signal.SIGSTOP: BackendHung}[number]
    assert type(supervisor.failures["cpu"]) is kind


def test_a_second_failure_in_one_reply_ends_it_with_the_reasons_and_the_next_may_restart(
    paced, undisturbed
) -> None:
    gone = faulty("gone", of=CPU, fault="lost", phase="open")
    supervisor = paced(gone)
    reply = Reply()
    with pytest.raises(NoBackend) as caught:
        ask(supervisor, on_event=strike(supervisor, signal.SIGKILL, 3, 6), reply=reply)
    assert caught.value.exit_code == 3
    assert "gone: scripted" in str(caught.value)
    assert "cpu: the worker was killed by SIGKILL" in str(caught.value)
    assert 6 <= len(reply.tokens) < COUNT
    assert reply.tokens == undisturbed(GREEDY)[: len(reply.tokens)]
    again = ask(supervisor, on_event=strike(supervisor, signal.SIGKILL, 2))
    assert again.tokens == undisturbed(GREEDY)
    assert [f.target for f in again.fallbacks] == ["cpu"]


def test_a_worker_killed_between_two_replies_is_replaced_at_the_next(
    supervise, undisturbed
) -> None:
    supervisor = supervise(CPU)
    ask(supervisor)
    os.kill(supervisor.runner.pid, signal.SIGKILL)
    reply = ask(supervisor)
    assert [f.at_token for f in reply.fallbacks] == [0]
    assert reply.tokens == undisturbed(GREEDY)


def test_a_backend_that_failed_is_not_tried_again_in_the_next_reply(supervise) -> None:
    supervisor = supervise(faulty("bad", of=CPU, fault="die", phase="decode"), CPU)
    assert ask(supervisor).fallbacks
    assert ask(supervisor).fallbacks == []
    assert supervisor.ready.backend == "cpu"


@pytest.mark.parametrize(
    ("fault", "kind"), [("hang", BackendHung), ("die", BackendLost)], ids=["hang", "die"]
)
def test_strict_fails_with_the_backends_own_error_and_starts_no_other(
    fault, kind, supervise
) -> None:
    bad = faulty("bad", of=CPU, fault=fault, phase="decode", step=2)
    supervisor = supervise(bad, CPU, strict=True)
    reply = Reply()
    with pytest.raises(kind, match=r"^bad: .*--strict") as caught:
        ask(supervisor, reply=reply)
    assert type(caught.value) is kind
    assert caught.value.exit_code == 3
    assert len(reply.tokens) == 2
    assert reply.fallbacks == []
    assert supervisor.runner is None
    with pytest.raises(NoBackend, match="bad: "):  # it may have hung a device: not again
        ask(supervisor)
    assert supervisor.runner is None


def test_strict_gives_the_floor_no_second_worker_in_the_same_reply(paced) -> None:
    supervisor = paced(strict=True)
    with pytest.raises(BackendLost, match="cpu: the worker was killed by SIGKILL"):
        ask(supervisor, on_event=strike(supervisor, signal.SIGKILL, 3))
    assert ask(supervisor).reason == "length"


def test_logits_never_come_from_another_backend(supervise) -> None:
    supervisor = supervise(faulty("bad", of=CPU, fault="die", phase="prefill"), CPU)
    list(supervisor.load())
    with pytest.raises(BackendLost, match="SIGKILL"):
        list(supervisor.logits([1, 2, 3]))
    assert supervisor.runner is None


def test_a_reply_that_filled_the_context_on_a_backend_that_died_is_complete(
    supervise, undisturbed
) -> None:
    room = 6
    bad = faulty("bad", of=CPU, fault="die", phase="decode", step=room)
    supervisor = supervise(bad, CPU, context=37 + room)
    reply = ask(supervisor)
    assert reply.tokens == undisturbed(GREEDY)[:room]
    assert reply.reason == "context"
