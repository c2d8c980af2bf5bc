"""A machine's /proc and /sys as files."""

from __future__ import annotations

from pathlib import Path

ADDRESS = "0000:03:00.0"
GIB = 1 << 30
GPU = {
    "class": "0x030000",
    "vendor": "0x1002",
    "power/runtime_status": "active",
    "gpu_busy_percent": 87,
    "mem_busy_percent": 40,
    "mem_info_vram_total": 16 * GIB,
    "mem_info_vram_used": 4 * GIB,
    "mem_info_gtt_total": 32 * GIB,
    "mem_info_gtt_used": GIB,
    "hwmon/hwmon3/temp1_label": "edge",
    "hwmon/hwmon3/temp1_input": 61000,
    "hwmon/hwmon3/temp2_label": "junction",
    "hwmon/hwmon3/temp2_input": 74000,
    "hwmon/hwmon3/power1_average": 212_000_000,
    "hwmon/hwmon3/power1_cap": 300_000_000,
    "hwmon/hwmon3/freq1_label": "sclk",
    "hwmon/hwmon3/freq1_input": 2_410_000_000,
    "hwmon/hwmon3/freq2_label": "mclk",
    "hwmon/hwmon3/freq2_input": 1_250_000_000,
    "hwmon/hwmon3/fan1_input": 1450,
}


def write(root: Path, path: str, text: object) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"{text}\n")


def machine(root: Path) -> Path:
    """RAM and a processor; no GPU."""
    write(root, "proc/meminfo", "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  400 kB")
    write(root, "proc/stat", "cpu  100 0 50 800 50 0 0 0 0 0")
    return root


def gpu(root: Path, address: str = ADDRESS, **changes: object) -> Path:
    """An amdgpu card; a gauge of None is not there."""
    folder = f"sys/bus/pci/devices/{address}"
    for name, value in {**GPU, **changes}.items():
        if value is not None:
            write(root, f"{folder}/{name}", value)
    return root / folder
