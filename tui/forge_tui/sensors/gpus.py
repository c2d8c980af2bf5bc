"""The gauges that GPU drivers have in sysfs: amdgpu's all of them, those of others in part.

Sources: docs.kernel.org/gpu/amdgpu/thermal.html and driver-misc.html beside it, and
docs.kernel.org/hwmon/sysfs-interface.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from forge_tui.sensors.files import names, number, text

_DISPLAY = ("0x0300", "0x0302", "0x0380")
"""PCI classes: VGA, 3D and other display controllers."""
_MOST = 16
_FILES = {
    "busy": ("gpu_busy_percent", 0.01),
    "memory_busy": ("mem_busy_percent", 0.01),
    "vram_total": ("mem_info_vram_total", 1.0),
    "vram_used": ("mem_info_vram_used", 1.0),
    "gtt_total": ("mem_info_gtt_total", 1.0),
    "gtt_used": ("mem_info_gtt_used", 1.0),
}
_HWMON = {
    "power": (("power1_average", "power1_input"), 1e-6),
    "power_cap": (("power1_cap",), 1e-6),
    "fan": (("fan1_input",), 1.0),
}
_LABELLED = (
    ("edge", "temperature", "temp", 1e-3),
    ("junction", "hotspot", "temp", 1e-3),
    ("sclk", "clock", "freq", 1.0),
    ("mclk", "memory_clock", "freq", 1.0),
)


def find(root: Path) -> list[Path]:
    """The folder of each GPU on the PCI bus, in the order of their addresses."""
    bus = root / "sys/bus/pci/devices"
    found = (bus / name for name in names(bus))
    return [folder for folder in found if text(folder / "class").startswith(_DISPLAY)][:_MOST]


def read(folder: Path) -> dict[str, Any]:
    """Shares of one, bytes, °C, W, Hz and turns a minute; `asleep` alone where it sleeps.

    Most gauges would wake a device that sleeps to save power: it is left in peace.
    """
    found: dict[str, Any] = {"vendor": text(folder / "vendor").strip()[:10]}
    if text(folder / "power/runtime_status").strip() in ("suspended", "suspending"):
        return found | {"asleep": True}
    for gauge, (file, scale) in _FILES.items():
        if (value := number(folder / file, scale)) is not None:
            found[gauge] = value
    for name in names(folder / "hwmon")[:1]:
        found |= dict(_hwmon(folder / "hwmon" / name))
    return found


def _hwmon(folder: Path) -> Iterator[tuple[str, float]]:
    for gauge, (choices, scale) in _HWMON.items():
        values = (number(folder / file, scale) for file in choices)
        if (value := next((v for v in values if v is not None), None)) is not None:
            yield gauge, value
    for label, gauge, kind, scale in _LABELLED:
        for index in (1, 2, 3):
            named = text(folder / f"{kind}{index}_label").strip()
            value = number(folder / f"{kind}{index}_input", scale)
            unnamed = not named and index == 1 and label in ("edge", "sclk")
            if value is not None and (named == label or unnamed):
                yield gauge, value
                break
