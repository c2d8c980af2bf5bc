// The API: the first NVIDIA GPU, described as an AMD one. HIPCUDA_ARCH is what it calls itself:
// gfx1030 if nothing else, so that the code without WMMA is chosen.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../../hipsim/driver/errors.h"
#include "../../hipsim/driver/properties.h"
#include "cuda_driver.h"

namespace {

const int version = 70051831;  // ROCm 7.0

const char* arch() {
  const char* const asked = getenv("HIPCUDA_ARCH");
  return asked && *asked ? asked : "gfx1030";
}

int attribute(CUdevice_attribute which) {
  int value = 0;
  CUDA(cuDeviceGetAttribute, &value, which, 0);
  return value;
}

int number_of(const char* from, int length) {
  char digits[4] = "";
  memcpy(digits, from, (size_t)std::min(length, 3));
  return atoi(digits);
}

int clock_khz() { return attribute(CU_DEVICE_ATTRIBUTE_CLOCK_RATE); }

}  // namespace

HIP_API hipInit(unsigned) { return hipcuda::answer(hipcuda::enter()); }

HIP_API hipGetDeviceCount(int* count) {
  const int error = hipcuda::enter();
  *count = error ? 0 : 1;
  return hipcuda::answer(error);
}

HIP_API hipSetDevice(int device) {
  return hipcuda::answer(device ? hipErrorInvalidDevice : hipcuda::enter());
}

HIP_API hipGetDevice(int* device) {
  *device = 0;
  return hipcuda::answer(hipcuda::enter());
}

HIP_API hipDeviceGet(int* device, int number) {
  *device = number;
  return hipcuda::answer(number ? hipErrorInvalidDevice : hipSuccess);
}

HIP_API hipDriverGetVersion(int* found) {
  *found = version;
  return 0;
}

HIP_API hipRuntimeGetVersion(int* found) {
  *found = version;
  return 0;
}

HIP_API hipDeviceGetName(char* name, int length, int) { return CUDA(cuDeviceGetName, name, length, 0); }

HIP_API hipDeviceTotalMem(size_t* bytes, int) { return CUDA(cuDeviceTotalMem, bytes, 0); }

HIP_API hipDeviceGetPCIBusId(char* text, int length, int) {
  return CUDA(cuDeviceGetPCIBusId, text, length, 0);
}

HIP_API hipGetDevicePropertiesR0600(hipsim::Properties* properties, int device) {
  if (device) return hipcuda::answer(hipErrorInvalidDevice);
  *properties = {};
  if (const int error = CUDA(cuDeviceGetName, properties->name, 256, 0)) return error;
  CUDA(cuDeviceTotalMem, &properties->memory, 0);
  const bool long_name = strlen(arch()) > 6;
  properties->shared_per_block = properties->shared_per_unit = 65536;
  properties->registers_per_block = 65536;
  properties->wave_size = attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE);
  properties->threads_per_block = 1024;
  for (int i = 0; i < 3; i++) {
    properties->block[i] = i == 2 ? 64 : 1024;
    properties->grid[i] = i ? 65535 : 2147483647;
  }
  properties->clock_khz = clock_khz();
  properties->major = number_of(arch() + 3, long_name ? 2 : 1);
  properties->minor = number_of(arch() + (long_name ? 5 : 4), 1);
  properties->units = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  properties->integrated = attribute(CU_DEVICE_ATTRIBUTE_INTEGRATED);
  properties->maps_host_memory = properties->unified_addressing = 1;
  properties->pci_bus = attribute(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID);
  properties->pci_device = attribute(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID);
  properties->pci_domain = attribute(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID);
  properties->memory_clock_khz = attribute(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
  properties->memory_bits = attribute(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
  properties->cache = attribute(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
  properties->threads_per_unit = attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR);
  snprintf(properties->arch, sizeof properties->arch, "%s", arch());
  return 0;
}

// Numbers are hipDeviceAttribute_t's, which are not CUDA's.
HIP_API hipDeviceGetAttribute(int* value, int which, int) {
  if (const int error = hipcuda::enter()) return hipcuda::answer(error);
  switch (which) {
    case 3: case 85: *value = 1; return 0;                  // mapped host memory, one address space
    case 5: *value = clock_khz(); return 0;
    case 10: case 24: case 88: *value = 0; return 0;        // cooperative, managed, memory pools
    case 16: *value = attribute(CU_DEVICE_ATTRIBUTE_INTEGRATED); return 0;
    case 19: *value = attribute(CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE); return 0;
    case 56: *value = 1024; return 0;                       // threads of a block
    case 57: *value = attribute(CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR); return 0;
    case 59: *value = attribute(CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH); return 0;
    case 60: *value = attribute(CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE); return 0;
    case 63: case 10015: *value = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT); return 0;
    case 67: *value = attribute(CU_DEVICE_ATTRIBUTE_PCI_BUS_ID); return 0;
    case 68: *value = attribute(CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID); return 0;
    case 69: *value = attribute(CU_DEVICE_ATTRIBUTE_PCI_DOMAIN_ID); return 0;
    case 71: case 74: *value = 65536; return 0;             // registers, shared memory of a block
    case 87: *value = attribute(CU_DEVICE_ATTRIBUTE_WARP_SIZE); return 0;
    case 10017: *value = 1000000; return 0;                 // wall clock, kHz
    default: return hipcuda::answer(hipErrorInvalidValue);
  }
}

HIP_API hipGetLastError() { return hipcuda::last_error(true); }
HIP_API hipPeekAtLastError() { return hipcuda::last_error(false); }

extern "C" __attribute__((visibility("default"))) const char* hipGetErrorName(int error) {
  switch (error) {
#define X(name, number) \
  case number:          \
    return #name;
    HIPSIM_ERRORS(X)
#undef X
    default: return "hipErrorUnknown";
  }
}

extern "C" __attribute__((visibility("default"))) const char* hipGetErrorString(int error) {
  return hipGetErrorName(error);
}
