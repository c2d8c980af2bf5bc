"""Kernels whose answers are known: what lanes do together, and how values lie in fragments."""

from __future__ import annotations

import ctypes
import struct
from array import array
from typing import Any

from hip import hip

from .gpu import Gpu, check, compiled

WAVES = """
extern "C" __global__ void lanes(int* y) {
  const int lane = threadIdx.x;
  int* out = y + 16 * lane;
  out[0] = __shfl_xor(lane, 5);
  out[1] = __shfl_down(lane, 3, 8);
  out[2] = __shfl_up(lane, 1);
  out[3] = __shfl(lane, 9, 16);
  out[4] = (int)__ballot(lane & 1);
  out[5] = __builtin_amdgcn_ds_bpermute(4 * ((lane * 7) & 31), lane);
  out[6] = __builtin_amdgcn_update_dpp(-1, lane, 0x111, 0xf, 0xf, false);
  out[7] = __builtin_amdgcn_mov_dpp(lane, 0x1b, 0xf, 0xf, true);
  out[8] = __builtin_amdgcn_readfirstlane(lane + 40);
  out[9] = __builtin_amdgcn_ds_swizzle(lane, 0x041f);
  out[10] = __any(lane == 31) + 2 * __all(lane < 31);
  out[11] = __builtin_amdgcn_readlane(lane, 17);
}
extern "C" __global__ void several(int* y) {
  __shared__ int sums[8];
  int sum = threadIdx.x + 100 * blockIdx.x;
  for (int by = 16; by; by >>= 1) sum += __shfl_xor(sum, by);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = sum;
  __syncthreads();
  if (threadIdx.x == 0) {
    int total = 0;
    for (int i = 0; i < (int)blockDim.x / 32; i++) total += sums[i];
    atomicAdd(y, total);
  }
}
extern "C" __global__ void bytes(int* y) {
  y[0] = __builtin_amdgcn_sdot4(0x807f01ff, 0x7f80ff02, 5, false);
  y[1] = __builtin_amdgcn_sudot4(true, 0x807f01ff, false, 0x7f80ff02, 5, false);
  y[2] = __builtin_amdgcn_perm(0x44332211, 0x88776655, 0x0c070100);
  y[3] = __builtin_amdgcn_ubfe(0xabcd, 4, 8);
  y[4] = __builtin_amdgcn_alignbyte(0x44332211, 0x88776655, 1);
}
"""

HALVES = {
    "gfx1100": """
typedef _Float16 half16 __attribute__((ext_vector_type(16)));
typedef float float8 __attribute__((ext_vector_type(8)));
extern "C" __global__ void product(const _Float16* a, const _Float16* b, float* y) {
  half16 left, right;
  float8 sum = {};
  for (int k = 0; k < 16; k++) {
    left[k] = a[(threadIdx.x & 15) * 16 + k];
    right[k] = b[(threadIdx.x & 15) * 16 + k];
  }
  sum = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(left, right, sum);
  for (int i = 0; i < 8; i++) y[(2 * i + threadIdx.x / 16) * 16 + (threadIdx.x & 15)] = sum[i];
}
""",
    "gfx1201": """
typedef _Float16 half8 __attribute__((ext_vector_type(8)));
typedef float float8 __attribute__((ext_vector_type(8)));
extern "C" __global__ void product(const _Float16* a, const _Float16* b, float* y) {
  half8 left, right;
  float8 sum = {};
  const int from = threadIdx.x / 16 * 8;
  for (int k = 0; k < 8; k++) {
    left[k] = a[(threadIdx.x & 15) * 16 + from + k];
    right[k] = b[(threadIdx.x & 15) * 16 + from + k];
  }
  sum = __builtin_amdgcn_wmma_f32_16x16x16_f16_w32_gfx12(left, right, sum);
  for (int i = 0; i < 8; i++) y[(from + i) * 16 + (threadIdx.x & 15)] = sum[i];
}
""",
}

BYTES = {
    "gfx1100": """
typedef int int4_ __attribute__((ext_vector_type(4)));
typedef int int8_ __attribute__((ext_vector_type(8)));
extern "C" __global__ void product(const int* a, const int* b, int* y) {
  int4_ left, right;
  int8_ sum = {};
  for (int k = 0; k < 4; k++) {
    left[k] = a[(threadIdx.x & 15) * 4 + k];
    right[k] = b[(threadIdx.x & 15) * 4 + k];
  }
  sum = __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32(true, left, true, right, sum, false);
  for (int i = 0; i < 8; i++) y[(2 * i + threadIdx.x / 16) * 16 + (threadIdx.x & 15)] = sum[i];
}
""",
    "gfx1201": """
typedef int int2_ __attribute__((ext_vector_type(2)));
typedef int int8_ __attribute__((ext_vector_type(8)));
extern "C" __global__ void product(const int* a, const int* b, int* y) {
  int2_ left, right;
  int8_ sum = {};
  const int half = threadIdx.x / 16;
  for (int k = 0; k < 2; k++) {
    left[k] = a[(threadIdx.x & 15) * 4 + 2 * half + k];
    right[k] = b[(threadIdx.x & 15) * 4 + 2 * half + k];
  }
  sum = __builtin_amdgcn_wmma_i32_16x16x16_iu8_w32_gfx12(true, left, true, right, sum, false);
  for (int i = 0; i < 8; i++) y[(8 * half + i) * 16 + (threadIdx.x & 15)] = sum[i];
}
""",
}


def lanes() -> list[list[int]]:
    """Per lane, what each operation gave it."""
    gpu = Gpu(WAVES)
    y = gpu.malloc()
    gpu.launch("lanes", y, threads=32)
    found = gpu.read(y, 512, "i")
    return [found[16 * lane : 16 * lane + 12] for lane in range(32)]


def total(blocks: int, threads: int) -> int:
    gpu = Gpu(WAVES)
    y = gpu.malloc()
    gpu.write(y, array("i", [0]))
    gpu.launch("several", y, blocks=blocks, threads=threads)
    return int(gpu.read(y, 1, "i")[0])


def byte_tricks() -> list[int]:
    gpu = Gpu(WAVES)
    y = gpu.malloc()
    gpu.launch("bytes", y, threads=1)
    return gpu.read(y, 5, "I")


def product(arch: str, kind: str) -> bool:
    """A whole product of 16x16x16, against the plain one."""
    left = [[(3 * row + 5 * k) % 11 - 5 for k in range(16)] for row in range(16)]
    right = [[(7 * column + 2 * k) % 13 - 6 for k in range(16)] for column in range(16)]
    gpu = Gpu((HALVES if kind == "halves" else BYTES)[arch], arch)
    code = "16e" if kind == "halves" else "16b"
    places = [gpu.malloc() for _ in range(3)]
    for place, matrix in zip(places, (left, right), strict=False):
        gpu.write(place, array("B", b"".join(struct.pack(code, *row) for row in matrix)))
    gpu.launch("product", *places, threads=32)
    found: list[Any] = gpu.read(places[2], 256, "f" if kind == "halves" else "i")
    wanted = [
        sum(x * y for x, y in zip(row, column, strict=True)) for row in left for column in right
    ]
    return found == wanted


def graph_replayed_on_new_inputs() -> list[list[float]]:
    """Double what lies in memory, three times over."""
    source = 'extern "C" __global__ void twice(float* y) { y[threadIdx.x] *= 2; }'
    gpu = Gpu(source)
    y = gpu.malloc()
    gpu.capture()
    gpu.launch("twice", y, threads=2)
    gpu.launch("twice", y, threads=1)
    graph = gpu.captured()
    found = []
    for start in (1.0, 10.0):
        gpu.write(y, array("f", [start, start]))
        for _ in range(2):
            check(hip.hipGraphLaunch(graph, gpu.stream))
        found.append(gpu.read(y, 2))
    return found


def headers_and_macros() -> list[int]:
    """Kernels that are made by macros of a header, some of them left out by #if."""
    header = """
#define ENTRY(name, value) \\
  extern "C" __global__ __launch_bounds__(64) void name(int* y) { *y = value; }
"""
    source = """
#include "entries.h"
ENTRY(first, 11)
#if defined(__gfx1100__) && defined(__GFX11__) && defined(HIPSIM)
ENTRY(second, 22)
#else
ENTRY(absent, 33)
#endif
template <int N>
__device__ int twice() { return 2 * N; }
extern "C" __global__ void third(int* y) { *y = twice<33>(); }
"""
    gpu = Gpu(source, entries=header)
    y = gpu.malloc()
    found = []
    for name in ("first", "second", "third"):
        gpu.launch(name, y, threads=1)
        found += gpu.read(y, 1, "i")
    return found


def reductions() -> bool:
    """One meeting gives the bits that five exchanges give."""
    source = """
extern "C" __global__ void both(float* y) {
  const float x = 1.0f / (3.0f + threadIdx.x * threadIdx.x);
  float sum = x, most = -x;
  for (int by = 1; by < 32; by *= 2) sum += __shfl_xor(sum, by);
  for (int by = 1; by < 32; by *= 2) most = fmaxf(most, __shfl_xor(most, by));
  y[threadIdx.x] = sum;
  y[threadIdx.x + 32] = most;
  y[threadIdx.x + 64] = __hipsim_wave_sum(x);
  y[threadIdx.x + 96] = __hipsim_wave_max(-x);
}
"""
    gpu = Gpu(source)
    y = gpu.malloc()
    gpu.launch("both", y, threads=32)
    found = gpu.read(y, 128)
    return found[:64] == found[64:] and len(set(found[:32])) == 1


def compile_only(source: str) -> int:
    """The size of the code."""
    return len(compiled(source + 'extern "C" __global__ void nothing() {}'))


def misaligned() -> list[int]:
    """A load of four bytes from an odd address, which a GPU may refuse."""
    source = 'extern "C" __global__ void odd(int* y, int at) { *y = *(int*)((char*)y + at); }'
    gpu = Gpu(source)
    y = gpu.malloc()
    gpu.write(y, array("i", [1, 0, 0, 0]))
    gpu.launch("odd", y, ctypes.c_int(5), threads=1)
    return gpu.read(y, 1, "i")
