"""What forge must never do, each done once."""

from __future__ import annotations

import ctypes
from typing import Any

from hip import hip

from .gpu import TO_DEVICE, WITHIN, Gpu, check

SOURCE = 'extern "C" __global__ void fill(float* y, float value) { y[threadIdx.x] = value; }'


def clean() -> list[float]:
    """Nothing of the kind: one arena, pinned copies, one stream, an event polled."""
    gpu = Gpu(SOURCE)
    y = gpu.malloc(1 << 20)
    gpu.launch("fill", y, ctypes.c_float(2))
    gpu.polls(gpu.event())
    return gpu.read(y, 64)


def null_launch() -> None:
    gpu = Gpu(SOURCE)
    gpu.launch("fill", gpu.malloc(), ctypes.c_float(2), stream=None)


def null_copy() -> None:
    gpu = Gpu()
    check(hip.hipMemcpyAsync(gpu.malloc(), gpu.pinned, 256, TO_DEVICE, None))


def synchronous_copy() -> None:
    gpu = Gpu()
    check(hip.hipMemcpy(gpu.malloc(), gpu.pinned, 256, TO_DEVICE))


def null_fill() -> None:
    check(hip.hipMemset(Gpu().malloc(), 0, 256))


def null_wait() -> None:
    check(hip.hipStreamSynchronize(None))


def null_event() -> None:
    event = check(hip.hipEventCreate())
    check(hip.hipEventRecord(event, None))


def blocking_stream() -> None:
    check(hip.hipStreamCreate())


def pageable_upload() -> None:
    gpu = Gpu()
    host = ctypes.create_string_buffer(256)
    check(hip.hipMemcpyAsync(gpu.malloc(), host, 256, TO_DEVICE, gpu.stream))


def pageable_download() -> None:
    gpu = Gpu()
    host = ctypes.create_string_buffer(256)
    kind = hip.hipMemcpyKind.hipMemcpyDeviceToHost
    check(hip.hipMemcpyAsync(host, gpu.malloc(), 256, kind, gpu.stream))


def registered_pages() -> None:
    host = ctypes.create_string_buffer(4096)
    check(hip.hipHostRegister(host, 4096, 0))


def storm(calls: int = 65) -> int:
    gpu = Gpu()
    for _ in range(calls):
        gpu.malloc(256)
    return calls


def stream_ordered_allocator() -> None:
    check(hip.hipMallocAsync(256, Gpu().stream))


def managed_memory() -> None:
    check(hip.hipMallocManaged(256, 1))


def all_kinds_of_copies() -> None:
    gpu = Gpu()
    y = gpu.malloc()
    gpu.copy(y, gpu.pinned, 100)
    gpu.copy(y + 1024, y, 50, WITHIN)
    gpu.read(y, 4)


def launches_and_replays(replays: int) -> None:
    gpu = Gpu(SOURCE)
    y = gpu.malloc()
    gpu.launch("fill", y, ctypes.c_float(1))
    gpu.capture()
    gpu.launch("fill", y, ctypes.c_float(2))
    gpu.launch("fill", y + 256, ctypes.c_float(3))
    graph: Any = gpu.captured()
    for _ in range(replays):
        check(hip.hipGraphLaunch(graph, gpu.stream))
    gpu.wait()
    check(hip.hipFree(y))


def killed() -> None:
    storm(3)
    ctypes.string_at(0)
