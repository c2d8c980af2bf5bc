"""Ordinary work, in which a fault script makes something go wrong."""

from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import Any

from hip import hip

from .gpu import Gpu, HipError, check

SOURCE = """
extern "C" __global__ void fill(float* y, float value) { y[threadIdx.x] = value; }
extern "C" __global__ void layer(float* y, int number, volatile int* mark) {
  y[threadIdx.x] = number;
  if (threadIdx.x == 0) *mark = number;
}
"""


def work() -> list[float]:
    """Everything once: open, allocate, compile, copy, launch, wait, free."""
    check(hip.hipGetDeviceCount())
    gpu = Gpu(SOURCE)
    y = gpu.malloc(1 << 20)
    gpu.launch("fill", y, ctypes.c_float(2))
    values = gpu.read(y, 64)
    check(hip.hipFree(y))
    return values


def seconds() -> float:
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


def errors_of_all_calls() -> list[str]:
    """After a launch that goes wrong: what each kind of call says."""
    gpu = Gpu(SOURCE)
    y = gpu.malloc()
    said = []
    calls: list[Any] = [
        lambda: gpu.launch("fill", y, ctypes.c_float(2)),
        gpu.wait,
        gpu.malloc,
        lambda: check(hip.hipFree(y)),
        lambda: gpu.copy(y, gpu.pinned, 4),
        lambda: check(hip.hipGetDeviceCount()),
    ]
    for call in calls:
        try:
            call()
            said.append("")
        except HipError as error:
            said.append(str(error))
    return said


def layers(count: int, polls: int) -> dict[str, Any]:
    """Layers that write their number to pinned memory, then polling: what the host can tell."""
    gpu = Gpu(SOURCE)
    y = gpu.malloc()
    ctypes.memset(gpu.pinned, 0, 4)
    for number in range(1, count + 1):
        gpu.launch("layer", y, ctypes.c_int(number), gpu.pinned)
    asked = gpu.polls(gpu.event(), polls)
    return {"asked": asked, "mark": gpu.peek(1, "i")[0]}


def a_stalled_wait() -> None:
    gpu = Gpu(SOURCE)
    gpu.launch("fill", gpu.malloc(), ctypes.c_float(1))
    gpu.wait()


def script_that_changes(path: str) -> list[str]:
    """The same call before, while and after the file asks for an error."""
    gpu = Gpu()
    found = []
    for script in ("", "hipMalloc=err:2", ""):
        Path(path).write_text(script)
        try:
            gpu.malloc()
            found.append("")
        except HipError as error:
            found.append(str(error))
    return found


def many_mallocs(sizes: list[int]) -> list[str]:
    found = []
    for size in sizes:
        status = hip.hipMalloc(size)[0]
        found.append(status.name)
    return found
