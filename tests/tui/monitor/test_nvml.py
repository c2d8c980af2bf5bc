"""NVIDIA's library is asked where there is one, and missed nowhere else."""

from __future__ import annotations

from typing import Any

import pytest

from forge_tui.sensors.nvml import Nvml


class Library:
    """libnvidia-ml as its documentation has it: two GPUs, the second of which is broken."""

    def __init__(self, **failing: int) -> None:
        self.failing = failing

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        return lambda *arguments: self.failing.get(name) or self.answer(name, *arguments)

    def answer(self, name: str, *arguments: Any) -> int:
        values = {
            "nvmlDeviceGetTemperature": 45,
            "nvmlDeviceGetPowerUsage": 250_500,
            "nvmlDeviceGetEnforcedPowerLimit": 700_000,
        }
        out = getattr(arguments[-1], "_obj", None) if arguments else None
        match name:
            case "nvmlDeviceGetCount_v2":
                out.value = 2
            case "nvmlDeviceGetHandleByIndex_v2":
                out.value = arguments[0] + 1
                return 15 if arguments[0] else 0
            case "nvmlDeviceGetPciInfo_v3":
                out.domain, out.bus, out.device = 0, 0x1B, 0
            case "nvmlDeviceGetName":
                arguments[1].value = b"NVIDIA H200"
            case "nvmlDeviceGetMemoryInfo":
                out.total, out.used = 141 << 30, 5 << 30
            case "nvmlDeviceGetUtilizationRates":
                out.gpu, out.memory = 63, 20
            case "nvmlDeviceGetClockInfo":
                out.value = (1980, 3201)[arguments[1] == 2]
            case _ if name in values:
                out.value = values[name]
        return 0


def test_the_gauges_have_the_units_of_the_others():
    [(address, gauges)] = Nvml(lambda _: Library()).read()
    assert address == "0000:1b:00.0"
    assert gauges == {
        "vendor": "0x10de",
        "name": "NVIDIA H200",
        "busy": 0.63,
        "memory_busy": 0.2,
        "vram_total": float(141 << 30),
        "vram_used": float(5 << 30),
        "temperature": 45.0,
        "power": pytest.approx(250.5),
        "power_cap": pytest.approx(700.0),
        "clock": 1.98e9,
        "memory_clock": 3.201e9,
    }


def test_a_gauge_that_a_gpu_lacks_is_left_out():
    library = Library(nvmlDeviceGetPowerUsage=3, nvmlDeviceGetMemoryInfo=999)
    [(_, gauges)] = Nvml(lambda _: library).read()
    assert "power" not in gauges
    assert "vram_total" not in gauges
    assert gauges["temperature"] == 45.0


def test_without_the_library_or_its_driver_there_is_nothing():
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    assert list(Nvml(missing).read()) == []
    for failing in ("nvmlInit_v2", "nvmlDeviceGetCount_v2", "nvmlDeviceGetPciInfo_v3"):
        assert list(Nvml(lambda _, name=failing: Library(**{name: 9})).read()) == []
