"""Figures are told in words, fit any width, and obey nothing that a driver says."""

from __future__ import annotations

import pytest

from forge import Diagnosis, Fallback, Prefill, Ready, Watch
from forge.state import Key, Quarantine, Standing
from forge_tui.monitor import Asked, GpuReading, MonitorState, Polled, Reading, figures, trouble
from forge_tui.monitor.rows import Row, bar, drawn, sparkline

GIB = float(1 << 30)


def told(rows) -> str:
    return " ".join(f"{row.label} {row.value}" for row in rows)


def seen(**changes: object) -> MonitorState:
    gpu = GpuReading("0000:03:00.0", "AMD", **changes)  # type: ignore[arg-type]  # gauges
    return MonitorState(reading=Reading(1.0, gpus=(gpu,)))


@pytest.mark.parametrize("width", [1, 20, 30, 44, 100])
def test_no_line_is_wider_than_there_is_room(width):
    rows = [Row("Label", "word " * 20 + "x" * 150, share=0.5, history=(1.0, 2.0) * 99)]
    lines = drawn(rows, width).plain.split("\n")
    assert all(len(line) <= max(20, width) for line in lines)
    assert "".join(lines).count("x") == 150


def test_what_a_driver_prints_does_not_reach_the_terminal():
    assert drawn([Row("GPU", "evil \x1b[2J\x07\nname")], 60).plain == "GPU       evil  [2J  name"


@pytest.mark.parametrize(
    ("share", "drawing"),
    [(0.0, "╌╌╌╌"), (0.001, "━╌╌╌"), (0.5, "━━╌╌"), (1.0, "━━━━"), (7.0, "━━━━"), (-1.0, "╌╌╌╌")],
)
def test_a_bar_shows_a_share_of_one(share, drawing):
    assert bar(share, 4) == drawing


def test_a_sparkline_has_its_latest_sample_on_the_right():
    assert sparkline([9, 0, 0.5, 1], 3) == "▁▅█"
    assert sparkline([0, 50, 100], 9, top=200) == "▁▃▅"
    assert sparkline([0, 0], 9) == "▁▁"


def test_a_silent_worker_is_told_with_its_budget():
    quiet = figures.watchdog(MonitorState())
    assert told(quiet) == "Worker resting: the worker has nothing to do"
    for age, words, level in [
        (0.1, "is moving in decode", "good"),
        (1.2, "is silent in decode", "warning"),
        (2.5, "is over its budget in decode", "error"),
    ]:
        polled = Polled(Watch("vulkan", "decode", age, 2.0))
        rows = list(figures.watchdog(MonitorState().updated(polled, 1.0)))
        assert words in told(rows)
        assert f"beat {age:.2f} s old" in told(rows) or f"{age:.1f} s old" in told(rows)
        assert "of 2.0 s" in told(rows)
        assert rows[0].level == level
        assert rows[1].share == pytest.approx(age / 2)


def test_a_context_that_is_nearly_full_is_a_warning():
    state = MonitorState().updated(Ready("cpu", "Ryzen", 1000, 1.0, cache_bytes=3 << 30), 1.0)
    for used, level in [(500, ""), (950, "warning")]:
        rows = figures.engine(state.updated(Asked(), 2.0).updated(Prefill(used, used), 3.0))
        [context] = [row for row in rows if row.label == "Context"]
        assert (context.value, context.level) == (f"{used} of 1,000 tokens", level)
    assert "KV cache 3.0 GiB" in told(figures.engine(state))


def test_gauges_that_are_missing_take_no_row():
    assert told(figures.machine(seen(busy=0.5))) == "GPU AMD · 0000:03:00.0 Load 50%"
    assert told(figures.machine(seen(power=80.0))).endswith("Power 80 W")
    whole = seen(
        vram_used=GIB,
        vram_total=8 * GIB,
        clock=2.4e9,
        memory_clock=9e8,
        temperature=60.0,
        hotspot=97.0,
        power=80.0,
        power_cap=300.0,
    )
    words = told(figures.machine(whole))
    assert "VRAM 1.0 of 8.0 GiB Clock 2.40 GHz · memory 900 MHz" in words
    assert "Heat 60 °C · hotspot 97 °C Power 80 of 300 W" in words
    assert [row.level for row in figures.machine(whole) if row.label == "Heat"] == ["warning"]


def test_a_gpu_that_sleeps_or_does_not_answer_says_so():
    assert "asleep to save power" in told(figures.machine(seen(asleep=True)))
    assert "do not answer" in told(figures.machine(seen(silent=True)))
    silent = MonitorState(reading=Reading(1.0, silent=("gpu x", "memory"), problem="no process"))
    assert (
        told(figures.machine(silent)) == "Machine no process Silent memory: its files do not answer"
    )


def test_a_fallback_is_told_with_its_reason_and_what_came_before():
    state = MonitorState()
    for number, target in enumerate(["vulkan", "cpu", "cpu"]):
        source = ("hip", "vulkan", "cpu")[number]
        moved = Fallback(source, target, f"reason {number}", 7, number != 0, "/state/hangs/1.json")
        state = state.updated(moved, 1.0)
    assert told(trouble.in_short(state)) == (
        "Moved cpu began anew at token 7: reason 2  and 1 time before"
    )
    full = told(trouble.in_full(state))
    assert "vulkan → cpu at token 7: reason 1" in full
    assert "Left out hip: reason 0" in full
    assert "recorded in /state/hangs/1.json" in full


def test_a_quarantine_is_told_with_the_command_that_lifts_it():
    held = Quarantine(3, Key("vulkan", "0000:03:00.0"), "hung in decode", when=1.7e9)
    lapsed = Quarantine(4, Key("hip"), "long ago")
    found = Diagnosis((), (Standing(held, True, ()), Standing(lapsed, False, ("kernel",))))
    state = MonitorState().updated(found, 1.0)
    full = told(trouble.in_full(state))
    assert "vulkan on 0000:03:00.0 since 2023-11-1" in full
    assert "hung in decode  forge quarantine clear 3 tries it again" in full
    assert "long ago" not in full
    assert told(trouble.in_short(state)) == "Not used vulkan"


def test_where_all_is_well_the_panel_says_nothing_and_the_screen_says_so():
    state = MonitorState().updated(Diagnosis(), 1.0)
    assert list(trouble.in_short(state)) == []
    full = told(trouble.in_full(state))
    assert "no reply had to move" in full
    assert "nothing is in quarantine" in full
    assert "no known condition holds here" in full
    partly = MonitorState().updated(Diagnosis(notes=("odd",), complete=False), 1.0)
    assert "Note odd Note not everything answered in time" in told(trouble.in_full(partly))
