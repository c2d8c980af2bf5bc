"""What a program sees of the cards of a machine."""

from __future__ import annotations

from typing import Any

from hip import hip

from .gpu import Gpu, HipError, check, compiled


def cards() -> list[dict[str, Any]]:
    found = []
    for number in range(check(hip.hipGetDeviceCount())):
        properties = check(hip.hipGetDeviceProperties(number))
        found.append(
            {
                "name": _text(properties.name),
                "arch": _text(properties.gcnArchName),
                "memory": properties.totalGlobalMem,
                "integrated": properties.integrated,
                "bus": properties.pciBusID,
                "wave": properties.warpSize,
                "major": properties.major,
                "minor": properties.minor,
            }
        )
    return found


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def status_without_a_card() -> list[str]:
    calls = [hip.hipInit(0), hip.hipGetDeviceCount(), hip.hipMalloc(64), hip.hipSetDevice(0)]
    return [call[0].name for call in calls]


def other_device() -> str:
    return str(hip.hipSetDevice(7)[0].name)


def memory_is_per_card() -> list[str]:
    """Twice what the small card has fits into the big one."""
    found = []
    for number in (0, 1):
        check(hip.hipSetDevice(number))
        found.append(hip.hipMalloc(100 << 20)[0].name)
        free, total = check(hip.hipMemGetInfo())
        found.append(f"{free >> 20} of {total >> 20}")
    return found


def code_for_the_current_card() -> list[str]:
    found = []
    source = 'extern "C" __global__ void nothing() {}'
    for number in (0, 1):
        check(hip.hipSetDevice(number))
        found.append(hip.hipModuleLoadData(compiled(source, "gfx1100"))[0].name)
    return found


def symbols() -> dict[str, Any]:
    """What a program does with an old runtime: ask before it calls."""
    try:
        hip.hipGetDeviceProperties(0)
        error = ""
    except RuntimeError as found:
        error = str(found)
    return {"new": hip.has_symbol("hipGetDevicePropertiesR0600"), "error": error}


def version() -> int:
    return int(check(hip.hipRuntimeGetVersion()))


def by_address() -> list[int]:
    return [int(check(hip.hipDeviceGetByPCIBusId(text))) for text in (b"0000:0d:00.0",)]


def works() -> bool:
    try:
        Gpu().malloc()
    except HipError:
        return False
    return True
