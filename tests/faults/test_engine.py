"""The promise at the library's front door: the reply goes on, says so, and can be stopped."""

from __future__ import annotations

import threading
import time

import pytest

from forge import Engine
from forge.errors import NoBackend
from forge.events import Done, Fallback, Text, Token
from forge.testing import write_tiny
from forge.testing.faulty import faulty

from .conftest import CPU, GREEDY, SEEDED


@pytest.fixture(scope="module")
def speaking(tmp_path_factory):
    """A tiny model that has a tokenizer."""
    path = tmp_path_factory.mktemp("speaking") / "tiny.gguf"
    return write_tiny(path, tokenizer="bytes", context=256)


def open_engine(model, *, fault="hang", step=4, patience=0.2):
    bad = faulty("bad", of=CPU, fault=fault, phase="decode", step=step)
    return Engine.open(model, backend=bad, fallback_to=[CPU], patience=patience)


def done(events) -> Done:
    *_, last = events
    assert isinstance(last, Done)
    return last


@pytest.mark.parametrize("params", [GREEDY, SEEDED], ids=["greedy", "seeded"])
@pytest.mark.parametrize("fault", ["hang", "die", "nan"])
def test_a_reply_goes_on_and_tells_where_it_moved(fault, params, speaking) -> None:
    with Engine.open(speaking, backend="cpu") as engine:
        tokens = engine.tokenizer.encode("Why is the sky blue?")
        whole = done(engine.generate(tokens, params, max_tokens=12, stop_ids=()))
    with open_engine(speaking, fault=fault) as engine:
        assert engine.backend == "bad"
        events = list(engine.generate(tokens, params, max_tokens=12, stop_ids=()))
        assert engine.backend == "cpu"
    last = done(events)
    assert last.tokens == whole.tokens
    assert last.text == whole.text == "".join(e.text for e in events if isinstance(e, Text))
    assert [e.id for e in events if isinstance(e, Token)] == list(last.tokens)
    assert [e for e in events if isinstance(e, Fallback)] == list(last.fallbacks)
    (fallback,) = last.fallbacks
    assert (fallback.source, fallback.target, fallback.at_token) == ("bad", "cpu", 4)
    assert (last.backend, last.finish_reason) == ("cpu", "length")


def test_a_cancel_from_another_thread_during_a_hang_keeps_what_was_said(speaking) -> None:
    with open_engine(speaking) as engine:
        events = engine.generate([5, 6, 7], GREEDY, max_tokens=12, stop_ids=())
        timer = threading.Timer(0.3, engine.cancel)
        timer.start()
        last = done(events)
        ended = time.monotonic()
        timer.join()
    assert time.monotonic() - ended < 5
    assert last.finish_reason == "cancelled"
    assert len(last.tokens) == 4
    assert last.fallbacks == ()


def test_an_engine_whose_every_backend_failed_says_why_again_and_again(speaking) -> None:
    bad = faulty("bad", of=CPU, fault="lost", phase="open")
    with Engine(speaking, backend=bad, fallback_to=[]) as engine:
        for _ in range(2):
            with pytest.raises(NoBackend, match="bad: scripted"):
                list(engine.load())


@pytest.mark.model
def test_the_default_model_finishes_its_sentence_when_the_backend_hangs(real_model) -> None:
    prompt = "Why is the sky blue?"
    with Engine.open(real_model, backend="cpu") as engine:
        whole = done(engine.chat().send(prompt, GREEDY, max_tokens=16))
    with open_engine(real_model, step=6, patience=1) as engine:
        moved = done(engine.chat().send(prompt, GREEDY, max_tokens=16))
    assert moved.tokens == whole.tokens  # the same arithmetic: no near tie can differ
    assert [f.at_token for f in moved.fallbacks] == [6]


def test_ready_tells_what_the_cache_and_the_device_hold(speaking) -> None:
    with Engine.open(speaking, backend="cpu", context=128) as short:
        small = short.ready
    with Engine.open(speaking, backend="cpu", context=256) as long:
        large = long.ready
    assert small.cache_bytes > 0
    assert large.cache_bytes == 2 * small.cache_bytes
    assert 0 <= large.free_bytes <= large.memory_bytes
