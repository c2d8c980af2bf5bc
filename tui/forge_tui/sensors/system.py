"""RAM, the processor's load, and what one process takes of both and of a GPU: proc(5)."""

from __future__ import annotations

import os
from pathlib import Path

from forge_tui.sensors.files import names, text

_KIB = 1024
_UNITS = {"": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_MOST_HANDLES = 1024


def memory(root: Path) -> dict[str, float]:
    """Bytes of RAM: all, and what is not available for more programs."""
    found = _fields(text(root / "proc/meminfo"))
    total = found.get("MemTotal")
    available = found.get("MemAvailable", found.get("MemFree"))
    if total is None or available is None:
        return {}
    return {"total": total * _KIB, "used": max(0, total - available) * _KIB}


def processor(root: Path) -> dict[str, float]:
    """Ticks since boot in which the processors were busy, and all ticks: the rate is the load."""
    line = text(root / "proc/stat").partition("\n")[0].split()
    if not line or line[0] != "cpu" or not all(field.isdecimal() for field in line[1:]):
        return {}
    ticks = [int(field) for field in line[1:9]]  # guests are counted in user already
    return {"busy": sum(ticks) - sum(ticks[3:5]), "all": sum(ticks)}


def process(root: Path, pid: int) -> dict[str, float]:
    """Bytes of RAM that it holds, seconds of processor time, and bytes of GPU memory."""
    folder = root / f"proc/{pid}"
    resident = _fields(text(folder / "status")).get("VmRSS")
    fields = text(folder / "stat").rpartition(")")[2].split()
    found: dict[str, float] = {}
    if resident is not None:
        found["resident"] = resident * _KIB
    if len(fields) > 12 and fields[11].isdecimal() and fields[12].isdecimal():
        found["seconds"] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found | _gpu_memory(folder / "fdinfo")


def _gpu_memory(folder: Path) -> dict[str, float]:
    """What its DRM clients hold. Source: docs.kernel.org/gpu/drm-usage-stats.html."""
    clients: dict[tuple[str, str], dict[str, int]] = {}
    for name in names(folder)[:_MOST_HANDLES]:
        parts = [line.partition(":") for line in text(folder / name).splitlines()]
        lines = {key: value.strip() for key, _, value in parts}
        if "drm-client-id" in lines:  # several descriptors may be one client
            client = (lines.get("drm-pdev", ""), lines["drm-client-id"])
            clients[client] = {
                region: _bytes(
                    lines.get(f"drm-resident-{region}", lines.get(f"drm-memory-{region}", ""))
                )
                for region in ("vram", "gtt")
            }
    if not clients:
        return {}
    return {
        region: float(sum(client[region] for client in clients.values()))
        for region in ("vram", "gtt")
    }


def _bytes(value: str) -> int:
    digits, _, unit = value.partition(" ")
    return int(digits) * _UNITS.get(unit, 0) if digits.isdecimal() and len(digits) < 20 else 0


def _fields(lines: str) -> dict[str, int]:
    """`Name:   42 kB` as numbers."""
    found = {}
    for line in lines.splitlines():
        name, _, value = line.partition(":")
        digits = value.split()[:1]
        if digits and digits[0].isdecimal() and len(digits[0]) < 20:
            found[name] = int(digits[0])
    return found
