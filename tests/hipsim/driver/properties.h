// hipDeviceProp_t of ROCm 6 and later (R0600), as far as it is filled in here.
#pragma once
#include <cstddef>

namespace hipsim {

struct Properties {
  char name[256];
  char uuid[16];
  char luid[8];
  unsigned luid_mask;
  size_t memory, shared_per_block;
  int registers_per_block, wave_size;
  size_t pitch;
  int threads_per_block, block[3], grid[3], clock_khz;
  size_t constant_memory;
  int major, minor;
  size_t texture_alignment, texture_pitch;
  int overlap, units, timeout, integrated, maps_host_memory, compute_mode, textures[40];
  size_t surface_alignment;
  int concurrent_kernels, ecc, pci_bus, pci_device, pci_domain, tcc, copy_engines,
      unified_addressing, memory_clock_khz, memory_bits, cache, persisting_cache,
      threads_per_unit, priorities, global_cached, local_cached;
  size_t shared_per_unit;
  int registers_per_unit, managed, unused_0[9];
  size_t shared_opt_in;
  int unused_1[4];
  size_t shared_reserved;
  int unused_2[13], reserved[63], hip_reserved[32];
  char arch[256];
  size_t shared_most_per_unit;
  int clock_instruction_khz;
  unsigned features;
  void* flush_registers[2];
  int unused_3[6];
};

static_assert(sizeof(Properties) == 1472, "hipDeviceProp_tR0600");
static_assert(offsetof(Properties, wave_size) == 308, "warpSize");
static_assert(offsetof(Properties, units) == 388, "multiProcessorCount");
static_assert(offsetof(Properties, arch) == 1160, "gcnArchName");

}  // namespace hipsim
