"""A cancel counts from when a reply is asked for, and what it leaves running is not forgotten."""

from __future__ import annotations

import gc
import signal
import threading
import time
from contextlib import closing
from dataclasses import replace

import pytest

from forge import Engine
from forge.errors import BackendLost, UsageError
from forge.events import Done, Event, Loading, Token
from forge.past import Past
from forge.state import Ledger
from forge.state.marker import Mark
from forge.state.rows import Rows
from forge.supervisor import Supervisor
from forge.testing import write_tiny
from forge.testing.faulty import faulty

from .conftest import CPU, GREEDY, PROMPT, Reply, ask

GPU = replace(CPU, name="gpu", floor=False)
HUNG = faulty("gpu", of=CPU, fault="hang", phase="decode", step=3)


def marks() -> list[str]:
    """The phases of the markers that are on disk."""
    with closing(Ledger.open()) as ledger:
        found = ledger._database.read(lambda db: Rows(db, "markers", Mark).all(), {})
    return [mark.phase for mark in found.values()]


def rest(events) -> tuple[list[Event], str]:
    """The events that are left, and why the reply ended."""
    seen = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as end:
            return seen, end.value


@pytest.fixture
def remembering(options):
    made: list[Supervisor] = []

    def remembering(*specs, **changes):
        changed = replace(options, **changes)
        made.append(Supervisor(specs, changed, past=Past(changed, Ledger.open())))
        return made[-1]

    yield remembering
    for supervisor in made:
        supervisor.close()


def test_a_cancel_before_the_first_event_is_read_ends_the_reply(supervise) -> None:
    supervisor = supervise(CPU)
    assert not supervisor.cancel()
    events = supervisor.generate(PROMPT, GREEDY, 5, [])
    assert supervisor.cancel()
    assert not supervisor.cancel()
    seen, reason = rest(events)
    assert reason == "cancelled"
    assert not any(isinstance(event, Token) for event in seen)
    assert ask(supervisor).reason == "length"


def test_a_reply_that_nobody_will_read_is_none_to_cancel(supervise) -> None:
    supervisor = supervise(CPU)
    events = supervisor.generate(PROMPT, GREEDY, 5, [])
    events.close()
    assert not supervisor.cancel()
    events = supervisor.generate(PROMPT, GREEDY, 5, [])
    del events
    gc.collect()
    assert not supervisor.cancel()


def test_a_reply_that_is_closed_late_leaves_the_one_in_progress_its_cancel(supervise) -> None:
    supervisor = supervise(CPU)
    first = supervisor.generate(PROMPT, GREEDY, 5, [])
    next(first)
    second = supervisor.generate(PROMPT, GREEDY, 50, [])
    next(second)
    first.close()
    assert supervisor.cancel()
    assert rest(second)[1] == "cancelled"


def test_logits_are_not_told_to_be_cancelled(supervise) -> None:
    supervisor = supervise(CPU)
    list(supervisor.load())
    blocks = supervisor.logits(PROMPT)
    next(blocks)
    assert not supervisor.cancel()
    assert list(blocks) == []


def test_a_message_of_a_chat_can_be_cancelled_as_soon_as_it_is_sent(tmp_path) -> None:
    model = write_tiny(tmp_path / "tiny.gguf", tokenizer="bytes", context=256)
    with Engine.open(model, backend=CPU, fallback_to=[CPU]) as engine:
        events = engine.generate([1, 2, 3])
        assert engine.cancel()
        (done,) = [event for event in events if isinstance(event, Done)]
        assert done.finish_reason == "cancelled"


def test_a_marker_goes_with_the_reply_that_a_sound_worker_ended(remembering) -> None:
    supervisor = remembering(GPU, CPU)
    events = supervisor.generate(PROMPT, GREEDY, 100, [])
    while not isinstance(next(events), Token):
        pass
    assert marks() == ["decode"]
    events.close()
    assert marks() == []


def test_a_marker_stays_while_a_cancelled_worker_does_not_answer(remembering) -> None:
    supervisor = remembering(HUNG, CPU)

    def cancel(event, reply) -> None:
        if len(reply.tokens) == 3:
            supervisor.cancel()

    assert ask(supervisor, on_event=cancel).reason == "cancelled"
    assert marks() == ["decode"]
    time.sleep(0.6)  # more than its budget
    supervisor.close()
    assert marks() == []
    (fallback,) = ask(remembering(HUNG, CPU)).fallbacks
    assert not fallback.tried
    assert "after a cancel" in fallback.reason


def test_a_sound_worker_that_was_cancelled_is_not_accused_later(remembering) -> None:
    supervisor = remembering(GPU, CPU)

    def cancel(event, reply) -> None:
        if len(reply.tokens) == 3:
            supervisor.cancel()

    ask(supervisor, on_event=cancel, count=100)
    time.sleep(0.6)
    supervisor.close()
    assert ask(remembering(GPU, CPU)).fallbacks == []


def test_an_engine_that_nobody_closes_leaves_no_marker(options) -> None:
    supervisor = Supervisor([GPU], options, past=Past(options, Ledger.open()))
    supervisor.spawn()
    assert marks()
    del supervisor
    gc.collect()
    assert marks() == []


def test_an_engine_closed_by_another_thread_starts_no_other_worker(remembering) -> None:
    slow = faulty("gpu", of=CPU, fault="slow", phase="decode", seconds=0.05)
    supervisor = remembering(slow, CPU)
    reply = Reply()

    def close(event, reply) -> None:
        if len(reply.tokens) == 2:
            other = threading.Thread(target=supervisor.close)
            other.start()
            other.join()

    with pytest.raises((UsageError, BackendLost), match="closed"):
        ask(supervisor, on_event=close, reply=reply)
    assert supervisor.runner is None
    with pytest.raises(UsageError, match="closed"):
        ask(supervisor)
    assert {e.backend for e in reply.events if isinstance(e, Loading)} == {"gpu"}
    assert ask(remembering(slow, CPU)).fallbacks == []


def test_ctrl_c_at_any_moment_leaves_no_marker(options) -> None:
    past = Past(options, Ledger.open())
    interrupted = 0
    for attempt in range(40):
        main = threading.main_thread().ident
        timer = threading.Timer(attempt / 1500, signal.pthread_kill, [main, signal.SIGINT])
        try:
            try:
                timer.start()
                for _ in range(100):
                    past.mark(GPU, "decode")
                    past.unmark()
            finally:
                timer.join()
        except KeyboardInterrupt:
            interrupted += 1
        past.unmark()
    assert interrupted > 20
    assert marks() == []
    past.close()
