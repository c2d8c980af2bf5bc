"""The state as rows: the engine, its watchdog, and the machine."""

from __future__ import annotations

from collections.abc import Iterator

from forge_tui.monitor.reading import GpuReading, Reading
from forge_tui.monitor.rows import Level, Row
from forge_tui.monitor.state import MonitorState

_FULL = 0.9
"""A context or memory that is nearly used up."""
_LATE = 0.5
"""Share of a budget after which a silence is worth a colour."""
_HOT = 95.0
"""°C of a hotspot near which AMD's and NVIDIA's cards slow down."""
_GIB, _MIB = float(1 << 30), float(1 << 20)


def engine(state: MonitorState) -> Iterator[Row]:
    """What answers, what it is at, and how fast."""
    yield Row("Model", state.model or "none yet", "" if state.model else "dim")
    device = f" · {state.answering.device}" if state.answering else ""
    yield Row("Backend", f"{state.backend}{device}" if state.backend else "none yet")
    yield Row("Phase", _phase(state), share=state.done / state.total if state.total else None)
    yield Row("Speed", f"{_rate(state.decode_rate)} tok/s", history=state.histories.rate)
    yield Row("Prompt", f"{_rate(state.prefill_rate)} tok/s")
    first = (
        "—" if state.first_token_s is None else f"{_seconds(state.first_token_s)} to first token"
    )
    yield Row("", first, "" if state.first_token_s is not None else "dim")
    if ready := state.answering:
        share = state.context_used / ready.context if ready.context else 0.0
        used = f"{state.context_used:,} of {ready.context:,} tokens"
        yield Row("Context", used, "warning" if share > _FULL else "", share)
        if ready.cache_bytes:
            yield Row("KV cache", _bytes(ready.cache_bytes))
        if ready.memory_bytes:
            yield Row("Memory", f"{_of(ready.free_bytes, ready.memory_bytes)} free at load")


def watchdog(state: MonitorState) -> Iterator[Row]:
    """How long the worker has been silent, and how long it may be."""
    watch = state.watch
    if watch is None:
        yield Row("Worker", "resting: the worker has nothing to do", "dim")
        return
    share = watch.age_s / watch.budget_s if watch.budget_s > 0 else 0.0
    level: Level = "good" if share < _LATE else "warning" if share < 1 else "error"
    word = "moving" if share < _LATE else "silent" if share < 1 else "over its budget"
    yield Row("Worker", f"{watch.backend} is {word} in {watch.phase}", level)
    beat = f"beat {_seconds(watch.age_s)} old of {_seconds(watch.budget_s)}"
    yield Row("", beat, "dim" if share < _LATE else level, share)


def machine(state: MonitorState) -> Iterator[Row]:
    """RAM, processors and GPUs."""
    reading = state.reading
    if reading is None:
        yield Row("Machine", "not read yet", "dim")
        return
    if reading.problem:
        yield Row("Machine", reading.problem, "warning")
    yield from _host(reading, state)
    for gpu in reading.gpus:
        yield from _gpu(gpu, state)
    for group in reading.silent:
        if not group.startswith("gpu "):
            yield Row("Silent", f"{group}: its files do not answer", "error")


def _host(reading: Reading, state: MonitorState) -> Iterator[Row]:
    if reading.ram_total and reading.ram_used is not None:
        share = reading.ram_used / reading.ram_total
        used = f"{_of(reading.ram_used, reading.ram_total)}"
        yield Row("RAM", used, "warning" if share > _FULL else "", share)
    if reading.load is not None:
        yield Row("CPU", f"{reading.load:.0%}", "", reading.load, state.histories.load, 1.0)
    parts = []
    if reading.worker_load is not None:
        parts.append(f"{reading.worker_load:.1f} cores")
    if reading.worker_ram:
        parts.append(_bytes(reading.worker_ram))
    if reading.worker_vram:
        parts.append(f"{_bytes(reading.worker_vram)} VRAM")
    if reading.worker_gtt:
        parts.append(f"{_bytes(reading.worker_gtt)} GTT")
    if parts:
        yield Row("Worker", " · ".join(parts))


def _gpu(gpu: GpuReading, state: MonitorState) -> Iterator[Row]:
    yield Row("GPU", f"{gpu.name} · {gpu.address}" if gpu.name else gpu.address)
    if gpu.silent:
        yield Row("", "its driver's files do not answer: left alone for a minute", "error")
        return
    if gpu.asleep:
        yield Row("", "asleep to save power", "dim")
        return
    history = state.histories.of(gpu.address)
    if gpu.busy is not None:
        yield Row("Load", f"{gpu.busy:.0%}", "", gpu.busy, history.busy, 1.0)
    if gpu.vram_total and gpu.vram_used is not None:
        share = gpu.vram_used / gpu.vram_total
        used = _of(gpu.vram_used, gpu.vram_total)
        yield Row("VRAM", used, "warning" if share > _FULL else "", share)
    if gpu.gtt_total and gpu.gtt_used is not None:
        yield Row("GTT", _of(gpu.gtt_used, gpu.gtt_total), "", gpu.gtt_used / gpu.gtt_total)
    if gpu.clock is not None:
        memory = f" · memory {_hertz(gpu.memory_clock)}" if gpu.memory_clock is not None else ""
        yield Row("Clock", f"{_hertz(gpu.clock)}{memory}")
    if gpu.temperature is not None:
        hot = f" · hotspot {gpu.hotspot:.0f} °C" if gpu.hotspot is not None else ""
        hottest = max(gpu.temperature, gpu.hotspot or 0.0)
        yield Row("Heat", f"{gpu.temperature:.0f} °C{hot}", "warning" if hottest >= _HOT else "")
    if gpu.power is not None:
        cap = f" of {gpu.power_cap:.0f} W" if gpu.power_cap else " W"
        yield Row("Power", f"{gpu.power:.0f}{cap}", history=history.power, top=gpu.power_cap)
    if gpu.fan:
        yield Row("Fan", f"{gpu.fan:.0f} rpm")


def _phase(state: MonitorState) -> str:
    words = {"start": "starting the worker", "waiting": "waiting for the first token"}
    told = words.get(state.phase, state.phase)
    if state.total:
        told += f" {state.done:,} of {state.total:,}"
    return f"{told}: {state.detail}" if state.detail else told


def _rate(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 10 else f"{value:.1f} s" if value >= 1 else f"{value:.2f} s"


def _bytes(value: float) -> str:
    return f"{value / _GIB:.1f} GiB" if value >= _GIB else f"{value / _MIB:.0f} MiB"


def _of(used: float, total: float) -> str:
    if total >= _GIB:
        return f"{used / _GIB:.1f} of {total / _GIB:.1f} GiB"
    return f"{used / _MIB:.0f} of {total / _MIB:.0f} MiB"


def _hertz(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value / 1e9:.2f} GHz" if value >= 1e9 else f"{value / 1e6:.0f} MHz"
