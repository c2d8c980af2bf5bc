// The API: memory, and copies.
#include "../../hipsim/driver/errors.h"
#include "cuda_driver.h"

namespace {

constexpr unsigned common_flags = 7;  // portable, mapped, write-combined have CUDA's numbers
constexpr unsigned mapped = 2;

CUdeviceptr device(const void* address) { return (CUdeviceptr)address; }

}  // namespace

HIP_API hipMemGetInfo(size_t* free, size_t* total) { return CUDA(cuMemGetInfo, free, total); }

HIP_API hipMalloc(void** address, size_t bytes) {
  *address = nullptr;
  return bytes ? CUDA(cuMemAlloc, (CUdeviceptr*)address, bytes) : 0;
}

HIP_API hipFree(void* address) { return address ? CUDA(cuMemFree, device(address)) : 0; }

HIP_API hipHostMalloc(void** address, size_t bytes, unsigned flags) {
  return CUDA(cuMemHostAlloc, address, bytes, (flags & common_flags) | mapped);
}

HIP_API hipHostFree(void* address) { return address ? CUDA(cuMemFreeHost, address) : 0; }

HIP_API hipHostGetDevicePointer(void** found, void* host, unsigned) {
  return CUDA(cuMemHostGetDevicePointer, (CUdeviceptr*)found, host, 0u);
}

HIP_API hipMemcpyAsync(void* to, const void* from, size_t bytes, int kind, CUstream stream) {
  if (!bytes) return 0;
  switch (kind) {
    case 1: return CUDA(cuMemcpyHtoDAsync, device(to), from, bytes, stream);
    case 2: return CUDA(cuMemcpyDtoHAsync, to, device(from), bytes, stream);
    case 3: return CUDA(cuMemcpyDtoDAsync, device(to), device(from), bytes, stream);
    default: return CUDA(cuMemcpyAsync, device(to), device(from), bytes, stream);
  }
}

HIP_API hipMemcpy(void* to, const void* from, size_t bytes, int kind) {
  const int error = hipMemcpyAsync(to, from, bytes, kind, nullptr);
  return error ? error : CUDA(cuStreamSynchronize, (CUstream) nullptr);
}

HIP_API hipMemsetAsync(void* to, int value, size_t bytes, CUstream stream) {
  return bytes ? CUDA(cuMemsetD8Async, device(to), (unsigned char)value, bytes, stream) : 0;
}

HIP_API hipMemsetD32Async(void* to, int value, size_t count, CUstream stream) {
  return count ? CUDA(cuMemsetD32Async, device(to), (unsigned)value, count, stream) : 0;
}
