"""What the machine's gauges showed at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any

_MAKERS = {"0x1002": "AMD", "0x10de": "NVIDIA", "0x8086": "Intel"}
_LONGEST_NAME = 60


@dataclass(frozen=True, slots=True)
class GpuReading:
    """A GPU's gauges; None where it has no such gauge.

    busy, memory_busy: shares of one. Bytes, °C, W, Hz, and turns a minute. GTT is RAM that the GPU
    may use: on an integrated one that is where models lie. asleep: it saves power, and reading
    more would have woken it. silent: its driver's files did not answer.
    """

    address: str
    name: str = ""
    busy: float | None = None
    memory_busy: float | None = None
    vram_used: float | None = None
    vram_total: float | None = None
    gtt_used: float | None = None
    gtt_total: float | None = None
    clock: float | None = None
    memory_clock: float | None = None
    temperature: float | None = None
    hotspot: float | None = None
    power: float | None = None
    power_cap: float | None = None
    fan: float | None = None
    asleep: bool = False
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """All gauges. at: seconds on the monotonic clock; RAM in bytes; loads as shares of one.

    worker_load may be more than 1: it counts processors. worker_vram and worker_gtt are what the
    worker itself holds of a GPU's memory, where the driver tells. silent: groups of files that did
    not answer in time and are left alone for a while. problem: why there is no reading at all.
    """

    at: float
    ram_used: float | None = None
    ram_total: float | None = None
    load: float | None = None
    worker_ram: float | None = None
    worker_load: float | None = None
    worker_vram: float | None = None
    worker_gtt: float | None = None
    gpus: tuple[GpuReading, ...] = ()
    silent: tuple[str, ...] = ()
    problem: str = ""


@dataclass(slots=True)
class Groups:
    """Collects an answer's groups; from what it remembers of the last one it knows the rates."""

    now: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    before: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    before_at: float = 0.0
    pid: int = 0

    def begin(self, pid: int) -> None:
        """A new question; another process's time is no rate."""
        self.before, self.now = self.now, {}
        if pid != self.pid:
            self.before.pop("worker", None)
        self.pid = pid

    def reading(self, at: float, silent: tuple[str, ...], problem: str = "") -> Reading:
        """What was collected."""
        memory, worker = self.now.get("memory", {}), self.now.get("worker", {})
        gpus = {
            name.removeprefix("gpu "): _gpu(name.removeprefix("gpu "), values)
            for name, values in self.now.items()
            if name.startswith("gpu ")
        }
        for name in silent:
            if name.startswith("gpu "):
                address = name.removeprefix("gpu ")
                gpus[address] = GpuReading(address, silent=True)
        seconds, self.before_at = at - self.before_at, at
        return Reading(
            at,
            ram_used=number(memory, "used"),
            ram_total=number(memory, "total"),
            load=self._load(),
            worker_ram=number(worker, "resident"),
            worker_load=self._worker_load(seconds),
            worker_vram=number(worker, "vram"),
            worker_gtt=number(worker, "gtt"),
            gpus=tuple(gpus[address] for address in sorted(gpus)),
            silent=silent,
            problem=problem,
        )

    def _load(self) -> float | None:
        busy, everything = (self._grown("processor", name) for name in ("busy", "all"))
        return busy / everything if busy is not None and everything else None

    def _worker_load(self, seconds: float) -> float | None:
        worked = self._grown("worker", "seconds")
        return None if worked is None or seconds <= 0 else worked / seconds

    def _grown(self, group: str, name: str) -> float | None:
        then, now = (number(found.get(group, {}), name) for found in (self.before, self.now))
        return None if then is None or now is None else max(0.0, now - then)


def number(values: Mapping[str, Any], name: str) -> float | None:
    """A gauge that is a sound number."""
    value = values.get(name)
    sound = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    return float(value) if sound and value is not None and value >= -1e4 else None


def _gpu(address: str, values: Mapping[str, Any]) -> GpuReading:
    plain = {"address", "name", "asleep", "silent"}
    gauges: dict[str, Any] = {
        each.name: number(values, each.name)
        for each in fields(GpuReading)
        if each.name not in plain
    }
    name = str(values.get("name") or _MAKERS.get(str(values.get("vendor")), ""))
    shown = "".join(c if c.isprintable() else " " for c in name)[:_LONGEST_NAME]
    return replace(GpuReading(address, shown, asleep=values.get("asleep") is True), **gauges)
