"""NVIDIA's gauges, from the library that its driver brings; nothing where there is none.

Source: docs.nvidia.com/deploy/nvml-api. No package is needed: the library is called directly.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

_NAME = "libnvidia-ml.so.1"
_TEXT = 96
_TEMPERATURE_GPU, _CLOCK_SM, _CLOCK_MEMORY = 0, 1, 2


class _Memory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Pci(ctypes.Structure):
    """nvmlPciInfo_t of version 3."""

    _fields_ = (
        ("legacy", ctypes.c_char * 16),
        ("domain", ctypes.c_uint),
        ("bus", ctypes.c_uint),
        ("device", ctypes.c_uint),
        ("device_id", ctypes.c_uint),
        ("subsystem", ctypes.c_uint),
        ("bus_id", ctypes.c_char * 32),
    )


class Nvml:
    """Owns the library. What a GPU does not have a gauge for is left out."""

    def __init__(self, load: Callable[[str], Any] = ctypes.CDLL) -> None:
        self._load = load
        self._library: Any = None
        self._missing = False

    def read(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The PCI address and the gauges of each GPU, in the units of `gpus.read`.

        Nothing where the library is missing or finds no driver; it is looked for once.
        """
        if self._library is None and not self._missing:
            self._missing = not self._open()
        if self._missing:
            return
        count = ctypes.c_uint()
        if self._library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
            return
        for index in range(min(count.value, 16)):
            handle, pci = ctypes.c_void_p(), _Pci()
            if self._library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)):
                continue
            if not self._library.nvmlDeviceGetPciInfo_v3(handle, ctypes.byref(pci)):
                address = f"{pci.domain:04x}:{pci.bus:02x}:{pci.device:02x}.0"
                yield address, {"vendor": "0x10de", **self._gauges(handle)}

    def _open(self) -> bool:
        try:
            library = self._load(_NAME)
            if library.nvmlInit_v2():
                return False
        except (OSError, AttributeError):
            return False
        self._library = library
        return True

    def _gauges(self, handle: ctypes.c_void_p) -> dict[str, Any]:
        library, found = self._library, dict[str, Any]()
        name = ctypes.create_string_buffer(_TEXT)
        if not library.nvmlDeviceGetName(handle, name, _TEXT):
            found["name"] = name.value.decode(errors="replace")
        memory = _Memory()
        if not library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)):
            found |= {"vram_total": float(memory.total), "vram_used": float(memory.used)}
        load = _Utilization()
        if not library.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(load)):
            found |= {"busy": load.gpu / 100, "memory_busy": load.memory / 100}
        for gauge, scale, function, *choice in (
            ("temperature", 1.0, library.nvmlDeviceGetTemperature, _TEMPERATURE_GPU),
            ("power", 1e-3, library.nvmlDeviceGetPowerUsage),
            ("power_cap", 1e-3, library.nvmlDeviceGetEnforcedPowerLimit),
            ("clock", 1e6, library.nvmlDeviceGetClockInfo, _CLOCK_SM),
            ("memory_clock", 1e6, library.nvmlDeviceGetClockInfo, _CLOCK_MEMORY),
        ):
            value = ctypes.c_uint()
            if not function(handle, *choice, ctypes.byref(value)):
                found[gauge] = value.value * scale
        return found
