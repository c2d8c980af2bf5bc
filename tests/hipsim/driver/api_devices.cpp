// The API: devices and errors.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "../prelude/abi.h"
#include "call.h"
#include "devices.h"
#include "memory.h"
#include "properties.h"
#include "settings.h"
#include "streams.h"

using namespace hipsim;

namespace {

struct Address {
  unsigned domain = 0, bus = 0, device = 0;
};

Address address_of(const Device& device) {
  Address found;
  sscanf(device.pci.c_str(), "%x:%x:%x", &found.domain, &found.bus, &found.device);
  return found;
}

int number_of(const std::string& arch, size_t from, size_t length) {
  return atoi(arch.substr(from, length).c_str());
}
int major_of(const std::string& arch) { return number_of(arch, 3, arch.size() > 6 ? 2 : 1); }
int minor_of(const std::string& arch) { return number_of(arch, arch.size() > 6 ? 5 : 4, 1); }

}  // namespace

// For the compiler's library, where it is not told a target.
extern "C" __attribute__((visibility("default"))) const char* hipsim_current_arch() {
  return devices().empty() ? "" : devices()[(size_t)current_device()].arch.c_str();
}

HIP_API hipInit(unsigned) {
  Call call("hipInit");
  call.require(!devices().empty(), hipErrorNoDevice);
  return call.answer();
}

HIP_API hipGetDeviceCount(int* count) {
  Call call("hipGetDeviceCount");
  *count = call.error ? 0 : (int)devices().size();
  call.require(*count, hipErrorNoDevice);
  return call.answer();
}

HIP_API hipSetDevice(int device) {
  Call call("hipSetDevice");
  call.require(!devices().empty(), hipErrorNoDevice);
  call.require(is_device(device), hipErrorInvalidDevice);
  if (!call.error) current_device() = device;
  return call.answer();
}

HIP_API hipGetDevice(int* device) {
  Call call("hipGetDevice");
  call.require(!devices().empty(), hipErrorNoDevice);
  *device = current_device();
  return call.answer();
}

HIP_API hipDeviceGet(int* device, int number) {
  Call call("hipDeviceGet");
  call.require(is_device(number), hipErrorInvalidDevice);
  *device = number;
  return call.answer();
}

HIP_API hipDriverGetVersion(int* version) {
  *version = settings().version;
  return hipSuccess;
}

HIP_API hipRuntimeGetVersion(int* version) {
  Call call("hipRuntimeGetVersion");
  *version = settings().version;
  return call.answer();
}

#ifdef HIPSIM_OLD_RUNTIME
// ROCm 5 has only this, with another layout: whoever calls it by the new one reads rubbish.
HIP_API hipGetDeviceProperties(void* properties, int device) {
  Call call("hipGetDeviceProperties");
  call.require(is_device(device), hipErrorInvalidDevice);
  if (!call.error) memset(properties, 0x5a, 792);
  return call.answer();
}
#else
HIP_API hipGetDevicePropertiesR0600(Properties* properties, int number) {
  Call call("hipGetDeviceProperties");
  call.require(is_device(number), hipErrorInvalidDevice);
  if (call.error) return call.answer();
  const Device& device = devices()[(size_t)number];
  const Address address = address_of(device);
  *properties = {};
  strncpy(properties->name, device.name.c_str(), sizeof properties->name - 1);
  memcpy(properties->uuid, device.uuid.c_str(), std::min<size_t>(16, device.uuid.size()));
  strncpy(properties->arch, device.arch.c_str(), sizeof properties->arch - 1);
  properties->memory = device.memory;
  properties->shared_per_block = properties->shared_per_unit = 65536;
  properties->registers_per_block = 65536;
  properties->wave_size = wave_size;
  properties->threads_per_block = 1024;
  for (int i = 0; i < 3; i++) {
    properties->block[i] = 1024;
    properties->grid[i] = i ? 65535 : 2147483647;
  }
  properties->clock_khz = 2000000;
  properties->major = major_of(device.arch);
  properties->minor = minor_of(device.arch);
  properties->units = device.units;
  properties->integrated = device.integrated;
  properties->maps_host_memory = 1;
  properties->unified_addressing = 1;
  properties->pci_domain = (int)address.domain;
  properties->pci_bus = (int)address.bus;
  properties->pci_device = (int)address.device;
  properties->memory_clock_khz = 1000000;
  properties->memory_bits = 128;
  properties->cache = 1 << 20;
  properties->threads_per_unit = 2048;
  return call.answer();
}
#endif

HIP_API hipDeviceGetName(char* name, int length, int device) {
  Call call("hipDeviceGetName");
  call.require(is_device(device), hipErrorInvalidDevice);
  if (!call.error) snprintf(name, (size_t)length, "%s", devices()[(size_t)device].name.c_str());
  return call.answer();
}

HIP_API hipDeviceTotalMem(size_t* bytes, int device) {
  Call call("hipDeviceTotalMem");
  call.require(is_device(device), hipErrorInvalidDevice);
  if (!call.error) *bytes = devices()[(size_t)device].memory;
  return call.answer();
}

HIP_API hipDeviceGetUuid(char* uuid, int device) {
  Call call("hipDeviceGetUuid");
  call.require(is_device(device), hipErrorInvalidDevice);
  if (!call.error) memcpy(uuid, devices()[(size_t)device].uuid.c_str(), 16);
  return call.answer();
}

HIP_API hipDeviceGetPCIBusId(char* text, int length, int device) {
  Call call("hipDeviceGetPCIBusId");
  call.require(is_device(device), hipErrorInvalidDevice);
  if (!call.error) snprintf(text, (size_t)length, "%s", devices()[(size_t)device].pci.c_str());
  return call.answer();
}

HIP_API hipDeviceGetByPCIBusId(int* device, const char* text) {
  Call call("hipDeviceGetByPCIBusId");
  for (size_t i = 0; i < devices().size(); i++) {
    if (devices()[i].pci != text) continue;
    *device = (int)i;
    return call.answer();
  }
  return call.answer(hipErrorInvalidDevice);
}

// Numbers are hipDeviceAttribute_t's; an attribute that is not here is refused, not guessed.
HIP_API hipDeviceGetAttribute(int* value, int attribute, int number) {
  Call call("hipDeviceGetAttribute");
  call.require(is_device(number), hipErrorInvalidDevice);
  if (call.error) return call.answer();
  const Device& device = devices()[(size_t)number];
  const Address address = address_of(device);
  switch (attribute) {
    case 3: *value = 1; break;                          // can map host memory
    case 5: *value = 2000000; break;                    // clock, kHz
    case 10: case 24: case 88: *value = 0; break;       // cooperative, managed, memory pools
    case 16: *value = device.integrated; break;
    case 19: *value = 1 << 20; break;                   // L2 cache, bytes
    case 23: *value = major_of(device.arch); break;
    case 61: *value = minor_of(device.arch); break;
    case 56: *value = 1024; break;                      // threads per block
    case 57: *value = 2048; break;                      // threads per compute unit
    case 59: *value = 128; break;                       // memory bus, bits
    case 60: *value = 1000000; break;                   // memory clock, kHz
    case 63: case 10015: *value = device.units; break;
    case 67: *value = (int)address.bus; break;
    case 68: *value = (int)address.device; break;
    case 69: *value = (int)address.domain; break;
    case 71: *value = 65536; break;                     // registers per block
    case 74: *value = 65536; break;                     // shared memory per block, bytes
    case 85: *value = 1; break;                         // unified addressing
    case 87: *value = wave_size; break;
    case 10017: *value = 100000; break;                 // wall clock, kHz
    default: return call.answer(hipErrorInvalidValue);
  }
  return call.answer();
}

HIP_API hipDeviceSynchronize() {
  Call call("hipDeviceSynchronize");
  call.not_while_capturing();
  return call.answer(call.error ? call.error : finish_all());
}

HIP_API hipDeviceReset() {
  Call call("hipDeviceReset");
  return call.answer();
}

HIP_API hipGetLastError() { return last_error(true); }
HIP_API hipPeekAtLastError() { return last_error(false); }

extern "C" __attribute__((visibility("default"))) const char* hipGetErrorName(hipError error) {
  switch (error) {
#define X(name, number) \
  case number:          \
    return #name;
    HIPSIM_ERRORS(X)
#undef X
  }
  return "hipErrorUnknown";
}

extern "C" __attribute__((visibility("default"))) const char* hipGetErrorString(hipError error) {
  return hipGetErrorName(error);
}
