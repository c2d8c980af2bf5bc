"""The monitor's state follows the engine's events, and knows no more than they say."""

from __future__ import annotations

import subprocess
import sys

import pytest

import forge_tui.monitor
from forge import Done, Fallback, Loading, Prefill, Ready, Text, Timings, Token, Watch
from forge_tui.monitor import Asked, Chosen, GpuReading, MonitorState, Polled, Reading
from forge_tui.monitor.state import KEPT

READY = Ready("vulkan", "Radeon", 1000, 1.5, cache_bytes=1 << 20)


def after(*news: object, state: MonitorState | None = None) -> MonitorState:
    """Each piece of news comes a second after the one before, the first at 1."""
    state = state or MonitorState()
    for at, each in enumerate(news, 1):
        state = state.updated(each, float(at))  # type: ignore[arg-type]  # all are news
    return state


def test_loading_is_told_piece_by_piece_until_a_backend_is_ready():
    loading = after(Chosen("qwen"), Loading("vulkan", "load", 3, 12, "blk.0"))
    assert (loading.model, loading.backend, loading.phase) == ("qwen", "vulkan", "load")
    assert (loading.done, loading.total, loading.detail) == (3, 12, "blk.0")
    assert loading.answering is None
    ready = after(READY, state=loading)
    assert (ready.phase, ready.done, ready.answering) == ("idle", 0, READY)


def test_a_reply_in_progress_has_live_figures():
    state = after(READY, Asked(), Prefill(30, 60), Prefill(60, 60))
    assert (state.phase, state.done, state.total, state.prefill_rate) == ("prefill", 60, 60, 30)
    state = state.updated(Token(1), 5.0)
    assert (state.phase, state.first_token_s) == ("decode", 3.0)
    for number in range(10):
        state = state.updated(Token(number), 5.0 + (number + 1) / 20)
    assert state.decode_rate == pytest.approx(20)
    assert (state.reply_tokens, state.context_used) == (11, 71)
    assert state.updated(Text("words"), 9.0) == state


def test_a_live_rate_forgets_a_pause_after_a_few_seconds():
    state = after(READY, Asked(), Prefill(60, 60))
    for second in (4.0, 14.0):
        for number in range(100):
            state = state.updated(Token(number), second + number / 20)
    assert state.decode_rate == pytest.approx(20, rel=0.1)
    moved = state.updated(Fallback("vulkan", "cpu", "it hung", 200), 40.0)
    for number in range(10):
        moved = moved.updated(Token(number), 50.0 + number / 10)
    assert moved.decode_rate == pytest.approx(10)


def test_the_engine_s_own_figures_take_their_place_at_the_end():
    timings = Timings(first_token_s=0.25, prefill_tok_s=500.0, decode_tok_s=40.0)
    done = Done((1, 2, 3), 60, "stop", "cpu", "Ryzen", timings=timings)
    state = after(READY, Asked(), Prefill(60, 60), Token(1), done)
    assert (state.first_token_s, state.prefill_rate, state.decode_rate) == (0.25, 500.0, 40.0)
    assert (state.phase, state.backend, state.context_used) == ("idle", "cpu", 63)


def test_the_tokens_before_a_fallback_still_count_after_it():
    moved = Fallback("vulkan", "cpu", "it hung", 2)
    other = Ready("cpu", "Ryzen", 1000, 0.1)
    state = after(
        *(READY, Asked(), Prefill(60, 60), Token(1), Token(2), moved),
        *(Loading("cpu", "load", 1, 2), other, Prefill(62, 62), Token(3)),
    )
    assert (state.backend, state.answering) == ("cpu", other)
    assert state.fallbacks == (moved,)
    assert (state.prompt_tokens, state.reply_tokens) == (60, 3)
    assert state.prefill_rate == 62  # what went before is no part of the second reading
    back = Fallback("cpu", "vulkan", "it died", 3)
    assert after(back, state=state).answering is None


def test_the_next_reply_starts_from_nothing_and_keeps_the_fallbacks():
    moved = Fallback("vulkan", "cpu", "it hung", 0)
    done = Done((1,), 5, "stop", "cpu", "Ryzen")
    state = after(READY, moved, Asked(), Prefill(5, 5), Token(1), done, Asked())
    assert (state.first_token_s, state.phase) == (None, "waiting")
    state = after(Prefill(9, 9), Token(1), state=state)
    assert (state.context_used, state.fallbacks) == (10, (moved,))


def test_another_model_has_no_fallbacks_yet():
    state = after(Fallback("vulkan", "cpu", "it hung", 0), Reading(2.0, load=0.5), Chosen("qwen"))
    assert (state.fallbacks, state.backend) == ((), "")
    assert state.reading == Reading(2.0, load=0.5)


def test_histories_are_rates_and_gauges_a_second_apart():
    state = after(Reading(0.0))
    for second in range(1, 4):
        for _ in range(10 * second):
            state = state.updated(Token(1), float(second))
        gpus = (GpuReading("a", busy=0.1 * second, power=50), GpuReading("b"))
        state = state.updated(Reading(float(second), load=0.5, gpus=gpus), float(second))
    assert state.histories.rate == (0.0, 10.0, 20.0, 30.0)
    assert state.histories.of("a").busy == pytest.approx((0.1, 0.2, 0.3))
    assert (state.histories.of("b").busy, state.histories.load) == ((), (0.5, 0.5, 0.5))


def test_a_long_session_keeps_the_last_samples_only():
    state = MonitorState()
    for second in range(KEPT + 50):
        state = state.updated(Reading(float(second), load=second), float(second))
    assert state.histories.load == tuple(range(50, KEPT + 50))


def test_what_is_seen_of_the_worker_is_the_latest():
    state = after(Polled(Watch("cpu", "decode", 0.1, 2.0), "log"), Polled(None, "more"))
    assert (state.watch, state.log) == (None, "more")


def test_every_exported_name_exists_and_no_widget_is_imported_for_the_feed():
    assert all(getattr(forge_tui.monitor, name) is not None for name in forge_tui.monitor.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = forge_tui.monitor.no_such_name
    code = (
        "import sys; from forge_tui.monitor import Feed, Polled, is_news\n"
        "assert not {'textual', 'numpy'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
