// Put in front of every kernel source: HIP C++ as g++ takes it. A GPU thread is a fiber, and
// register r15 always points at the running one. Like the real run-time compiler's own prelude it
// defines no uint32_t, no std and no INFINITY.
#pragma once
#include "abi.h"

#define HIPSIM 1
#define __HIP__ 1
#define __HIPCC__ 1
#define __HIPCC_RTC__ 1
#define __HIP_PLATFORM_AMD__ 1
#define __HIP_DEVICE_COMPILE__ 1
#define __AMDGCN__ 1
#define __AMDGCN_WAVEFRONT_SIZE__ 32
#define __AMDGCN_WAVEFRONT_SIZE 32

#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __constant__ static const
#define __shared__ static  // .bss, which the driver poisons: one block runs at a time
#define __launch_bounds__(...)
#define __builtin_nontemporal_load(p) (*(p))
#define __builtin_nontemporal_store(v, p) ((void)(*(p) = (v)))
// __global__ stays as it is until the kernels' table has been made from what is left of the source.

register hipsim::Thread* hipsim_thread asm("r15");

#define threadIdx (hipsim_thread->index)
#define blockIdx (hipsim_thread->block->index)
#define blockDim (hipsim_thread->block->size)
#define gridDim (hipsim_thread->block->grid)
#define warpSize ((int)hipsim::wave_size)

typedef unsigned long size_t;

#include "types.h"
#include "maths.h"
#include "waves.h"
#include "atomics.h"
#include "products.h"
#include "table.h"
