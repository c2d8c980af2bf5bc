"""Mistakes that a backend can make, each as a program makes it."""

from __future__ import annotations

import contextlib
import ctypes
from array import array
from typing import Any

from hip import hip, hiprtc

from .gpu import TO_DEVICE, TO_HOST, Gpu, HipError, check, compiled

SOURCE = """
extern "C" __global__ void fill(float* y, int n, float value) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = value;
}
extern "C" __global__ void far(float* y, long at) { y[at + threadIdx.x] = 1.0f; }
extern "C" __global__ void divergent(float* y) {
  if (threadIdx.x < 7) __syncthreads();
  else y[0] = __shfl_xor(1.0f, 1);
  __syncthreads();
}
extern "C" __global__ void mixed(float* y) {
  float v = threadIdx.x;
  if (threadIdx.x & 1) v = __shfl_xor(v, 2);
  else v = __shfl_down(v, 2);
  y[threadIdx.x] = v;
}
extern "C" __global__ void early(float* y) {
  float v = threadIdx.x;
  if (threadIdx.x < 32) v = __shfl_xor(v, 1);
  if (threadIdx.x == 40) return;
  y[threadIdx.x] = __shfl(v, 8);
}
extern "C" __global__ void dynamic_shared(float* y) {
  extern __shared__ float shared[];
  y[threadIdx.x] = shared[threadIdx.x];
}
template <int N>
__device__ float* rows() {
  __shared__ float rows[N];
  return rows;
}
extern "C" __global__ void static_shared(float* y, int write) {
  float* const shared = rows<64>();
  if (write) shared[threadIdx.x] = 5.0f;
  y[threadIdx.x] = shared[threadIdx.x];
}
extern "C" __global__ void race(float* y) {
  __shared__ float shared[64];
  shared[threadIdx.x] = threadIdx.x;
  y[threadIdx.x] = shared[63 - threadIdx.x];  // no __syncthreads before
}
extern "C" __global__ void divide(int* y, int by) { y[threadIdx.x] = 7 / by; }
"""


def read_before_sync() -> list[float]:
    gpu = Gpu(SOURCE)
    y = gpu.malloc()
    gpu.launch("fill", y, ctypes.c_int(64), ctypes.c_float(3))
    ctypes.memset(gpu.pinned, 0, 256)
    gpu.copy(gpu.pinned, y, 256, TO_HOST)
    before = gpu.peek(1)[0]
    gpu.wait()
    return [before, gpu.peek(1)[0]]


def buffer_reused_before_sync() -> float:
    gpu = Gpu()
    y = gpu.malloc()
    ctypes.memmove(gpu.pinned, array("f", [1] * 64).tobytes(), 256)
    gpu.copy(y, gpu.pinned, 256)
    ctypes.memmove(gpu.pinned, array("f", [2] * 64).tobytes(), 256)
    gpu.wait()
    return float(gpu.read(y, 1)[0])


def fresh_memory() -> list[str]:
    gpu = Gpu()
    return [str(each) for each in gpu.read(gpu.malloc(), 1024)]


def fill(*arguments: Any) -> None:
    gpu = Gpu(SOURCE)
    gpu.launch("fill", gpu.malloc(), *arguments)
    gpu.wait()


def wrong_width() -> None:
    fill(ctypes.c_long(64), ctypes.c_float(3))


def missing_argument() -> None:
    fill(ctypes.c_int(64))


def copy_past_the_end() -> None:
    gpu = Gpu()
    gpu.copy(gpu.malloc(4096) + 4000, gpu.pinned, 256)


def copy_in_the_wrong_direction() -> None:
    gpu = Gpu()
    gpu.copy(gpu.pinned, gpu.malloc(), 256, TO_DEVICE)


def host_pointer() -> None:
    gpu = Gpu(SOURCE)
    host = ctypes.create_string_buffer(256)
    gpu.launch("fill", ctypes.addressof(host), ctypes.c_int(64), ctypes.c_float(1))
    gpu.wait()


def kernel(
    name: str, *arguments: int, threads: int = 64, shared: int = 0, blocks: int = 1
) -> list[str]:
    """What it wrote; NaN has no JSON."""
    gpu = Gpu(SOURCE)
    y = gpu.malloc(4096)
    values = [ctypes.c_int(a) if name != "far" else ctypes.c_long(a) for a in arguments]
    gpu.launch(name, y, *values, threads=threads, shared=shared, blocks=blocks)
    return [str(each) for each in gpu.read(y, threads)]


def far_write(at: int) -> list[str]:
    return kernel("far", at)


def uninitialised_dynamic() -> list[str]:
    return kernel("dynamic_shared", shared=256)


def uninitialised_static() -> list[str]:
    """What another block, of another launch, left there is not to be seen."""
    gpu = Gpu(SOURCE)
    y = gpu.malloc(4096)
    gpu.launch("static_shared", y, ctypes.c_int(1))
    gpu.launch("static_shared", y, ctypes.c_int(0))
    return [str(each) for each in gpu.read(y, 64)]


def race() -> list[str]:
    return kernel("race")


def divergent() -> list[str]:
    return kernel("divergent")


def mixed() -> list[str]:
    return kernel("mixed")


def early() -> list[str]:
    return kernel("early")


def divide_by_zero() -> list[str]:
    return kernel("divide", 0)


def after_a_fault() -> str:
    with contextlib.suppress(HipError):
        far_write(1 << 40)
    Gpu()
    return "no error"


def malloc_while_capturing() -> None:
    gpu = Gpu()
    gpu.capture()
    gpu.malloc()


def sync_while_capturing() -> None:
    gpu = Gpu()
    gpu.capture()
    gpu.wait()


def capture_after_a_spoilt_call() -> None:
    gpu = Gpu()
    gpu.capture()
    hip.hipMalloc(64)
    gpu.captured()


def query_a_captured_event() -> None:
    gpu = Gpu()
    gpu.capture()
    event = gpu.event()
    gpu.captured()
    gpu.polls(event)


def foreign_code() -> None:
    check(hip.hipModuleLoadData(b"\x7fELF" + bytes(200)))


def no_code() -> None:
    check(hip.hipModuleLoadData(b"nothing at all" + bytes(200)))


def other_arch() -> None:
    check(hip.hipModuleLoadData(compiled(SOURCE, "gfx1030")))


def unknown_kernel() -> None:
    Gpu(SOURCE).launch("nobody")


def too_many_threads() -> None:
    Gpu(SOURCE).launch("race", 0, threads=2048)


def standard_types() -> None:
    compiled("uint32_t x;")


def infinity() -> None:
    compiled("__device__ float most() { return INFINITY; }")


def unknown_option() -> None:
    program = check(hiprtc.hiprtcCreateProgram(b"", b"a", 0, [], []))
    options = [b"--offload-arch=gfx1100", b"--fast-please"]
    check(hiprtc.hiprtcCompileProgram(program, 2, options))


def freed_twice() -> None:
    y = Gpu().malloc()
    check(hip.hipFree(y))
    check(hip.hipFree(y))


def freed_in_the_middle() -> None:
    check(hip.hipFree(Gpu().malloc() + 256))


def used_after_free() -> None:
    gpu = Gpu(SOURCE)
    y = gpu.malloc()
    check(hip.hipFree(y))
    gpu.launch("fill", y, ctypes.c_int(64), ctypes.c_float(1))
    gpu.wait()
