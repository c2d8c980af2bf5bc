// The API: memory, and copies.
#include <cstring>

#include "call.h"
#include "counters.h"
#include "devices.h"
#include "memory.h"
#include "settings.h"
#include "streams.h"

using namespace hipsim;

namespace {

enum Direction { host_to_host, host_to_device, device_to_host, device_to_device, by_address };
const char* const directions[] = {"h2h", "h2d", "d2h", "d2d", "default"};

struct Copy {
  void* to;
  const void* from;
  size_t bytes;
  int direction;
  bool pageable, valid;
  std::string text;
};

bool on_host(Kind kind) { return kind != Kind::device; }

Copy describe(void* to, const void* from, size_t bytes, int direction, const void* stream) {
  const Kind target = kind_of(to, bytes), source = kind_of(from, bytes);
  if (direction == by_address) {
    direction = on_host(source) ? on_host(target) ? host_to_host : host_to_device
                : on_host(target) ? device_to_host
                                  : device_to_device;
  }
  Copy copy = {to, from, bytes, direction, false, true, ""};
  copy.pageable = (direction == host_to_device && source == Kind::pageable) ||
                  (direction == device_to_host && target == Kind::pageable);
  copy.valid = target != Kind::overrun && source != Kind::overrun && direction >= 0 &&
               direction < by_address &&
               on_host(source) == (direction == host_to_host || direction == host_to_device) &&
               on_host(target) == (direction == host_to_host || direction == device_to_host);
  copy.text = std::string(direction >= 0 && direction <= by_address ? directions[direction] : "?") +
              (copy.pageable ? " pageable" : " pinned") + (stream ? "" : " null");
  return copy;
}

hipError copy_on(const char* name, const Copy& copy, Stream* stream, bool wait) {
  Call call(name, copy.text.c_str(), copy.bytes);
  count("copies");
  count("copied:" + std::string(directions[copy.direction & 3]), copy.bytes);
  if (!stream) call.misuse("the null stream");
  if (copy.pageable) call.misuse("a pageable copy");
  if (wait) call.not_while_capturing();
  call.require(!stream || is_stream(stream), hipErrorInvalidHandle);
  call.require(copy.valid, hipErrorInvalidValue);
  if (call.error || !copy.bytes) return call.answer();
  Stream& on = stream ? *stream : null_stream();
  const bool corrupt = call.corrupt;
  const hipError error = enqueue(on, {[copy, corrupt](bool now_corrupt) {
                                        memcpy(copy.to, copy.from, copy.bytes);
                                        if (corrupt || now_corrupt) corrupt_bytes(copy.to, copy.bytes);
                                        return hipSuccess;
                                      },
                                      "copy " + copy.text, copy.bytes});
  return call.answer(error || !wait ? error : finish(on));
}

hipError fill_on(const char* name, void* to, unsigned value, size_t width, size_t count_of,
                 Stream* stream) {
  const size_t bytes = width * count_of;
  Call call(name, stream ? "" : "null", bytes);
  if (!stream) call.misuse("the null stream");
  call.require(!stream || is_stream(stream), hipErrorInvalidHandle);
  const Kind kind = kind_of(to, bytes);
  call.require(!bytes || kind == Kind::device || kind == Kind::pinned, hipErrorInvalidValue);
  if (call.error || !bytes) return call.answer();
  return call.answer(enqueue(stream ? *stream : null_stream(),
                             {[=](bool corrupt) {
                                for (size_t i = 0; width > 1 && i < count_of; i++) {
                                  memcpy(static_cast<char*>(to) + i * width, &value, width);
                                }
                                if (width == 1) memset(to, (int)value, bytes);
                                if (corrupt) corrupt_bytes(to, bytes);
                                return hipSuccess;
                              },
                              "fill", bytes}));
}

hipError give(const char* name, void** address, size_t bytes, Kind kind) {
  Call call(name, "", bytes);
  *address = nullptr;
  call.not_while_capturing();
  call.require(!devices().empty(), hipErrorNoDevice);
  if (call.error || !bytes) return call.answer();
  const int device = current_device();
  if (kind == Kind::device) {
    static unsigned long calls = 0;
    if (++calls > settings().storm) call.misuse("a storm of allocations");
    const bool fits = used_on(device) + bytes <= devices()[(size_t)device].memory;
    call.require(fits, hipErrorOutOfMemory);
  }
  if (call.error) return call.answer();
  count(std::string(name) + ":bytes", bytes);
  *address = allocate(bytes, kind, device);
  return call.answer(*address ? hipSuccess : hipErrorOutOfMemory);
}

hipError take_back(const char* name, void* address, Kind kind) {
  Call call(name);
  call.not_while_capturing();
  if (call.error || !address) return call.answer();
  const hipError error = finish_all();
  if (error) return call.answer(error);
  return call.answer(release(address, kind) ? hipSuccess : hipErrorInvalidValue);
}

}  // namespace

HIP_API hipMemGetInfo(size_t* free, size_t* total) {
  Call call("hipMemGetInfo");
  call.require(!devices().empty(), hipErrorNoDevice);
  if (call.error) return call.answer();
  *total = devices()[(size_t)current_device()].memory;
  *free = *total - used_on(current_device());
  return call.answer();
}

HIP_API hipMalloc(void** address, size_t bytes) {
  return give("hipMalloc", address, bytes, Kind::device);
}
HIP_API hipHostMalloc(void** address, size_t bytes, unsigned) {
  return give("hipHostMalloc", address, bytes, Kind::pinned);
}
HIP_API hipHostAlloc(void** address, size_t bytes, unsigned) {
  return give("hipHostMalloc", address, bytes, Kind::pinned);
}
HIP_API hipFree(void* address) { return take_back("hipFree", address, Kind::device); }
HIP_API hipHostFree(void* address) { return take_back("hipHostFree", address, Kind::pinned); }
HIP_API hipFreeHost(void* address) { return take_back("hipHostFree", address, Kind::pinned); }

HIP_API hipHostGetDevicePointer(void** device, void* host, unsigned) {
  Call call("hipHostGetDevicePointer");
  const Kind kind = kind_of(host, 1);
  call.require(kind == Kind::pinned || kind == Kind::registered, hipErrorInvalidValue);
  *device = host;
  return call.answer();
}

HIP_API hipHostRegister(void* address, size_t bytes, unsigned) {
  Call call("hipHostRegister", "", bytes);
  call.misuse("pages of the program given to the driver");
  if (call.error) return call.answer();
  return call.answer(register_pages(address, bytes) ? hipSuccess
                                                    : hipErrorHostMemoryAlreadyRegistered);
}
HIP_API hipHostUnregister(void* address) {
  Call call("hipHostUnregister");
  if (call.error) return call.answer();
  return call.answer(unregister_pages(address) ? hipSuccess : hipErrorHostMemoryNotRegistered);
}

// Allocators that hang or lose memory on real cards (ROCm/hip#3370, ROCm#6178, llamacpp-rocm#87).
HIP_API hipMallocAsync(void** address, size_t bytes, Stream*) {
  Call call("hipMallocAsync", "", bytes);
  *address = nullptr;
  call.misuse("the stream-ordered allocator");
  return call.answer(hipErrorNotSupported);
}
HIP_API hipMallocManaged(void** address, size_t bytes, unsigned) {
  Call call("hipMallocManaged", "", bytes);
  *address = nullptr;
  call.misuse("managed memory");
  return call.answer(hipErrorNotSupported);
}
HIP_API hipMemCreate(void**, size_t bytes, const void*, unsigned long) {
  Call call("hipMemCreate", "", bytes);
  call.misuse("virtual memory management");
  return call.answer(hipErrorNotSupported);
}
HIP_API hipMemAddressReserve(void**, size_t bytes, size_t, void*, unsigned long) {
  Call call("hipMemAddressReserve", "", bytes);
  call.misuse("virtual memory management");
  return call.answer(hipErrorNotSupported);
}

HIP_API hipMemcpy(void* to, const void* from, size_t bytes, int direction) {
  return copy_on("hipMemcpy", describe(to, from, bytes, direction, nullptr), nullptr, true);
}
HIP_API hipMemcpyWithStream(void* to, const void* from, size_t bytes, int direction, Stream* on) {
  return copy_on("hipMemcpyWithStream", describe(to, from, bytes, direction, on), on, true);
}
HIP_API hipMemcpyAsync(void* to, const void* from, size_t bytes, int direction, Stream* on) {
  return copy_on("hipMemcpyAsync", describe(to, from, bytes, direction, on), on, false);
}
HIP_API hipMemcpyHtoDAsync(void* to, const void* from, size_t bytes, Stream* on) {
  return copy_on("hipMemcpyAsync", describe(to, from, bytes, host_to_device, on), on, false);
}
HIP_API hipMemcpyDtoHAsync(void* to, const void* from, size_t bytes, Stream* on) {
  return copy_on("hipMemcpyAsync", describe(to, from, bytes, device_to_host, on), on, false);
}
HIP_API hipMemcpyDtoDAsync(void* to, const void* from, size_t bytes, Stream* on) {
  return copy_on("hipMemcpyAsync", describe(to, from, bytes, device_to_device, on), on, false);
}

HIP_API hipMemset(void* to, int value, size_t bytes) {
  const hipError error = fill_on("hipMemset", to, (unsigned char)value, 1, bytes, nullptr);
  return error ? error : finish(null_stream());
}
HIP_API hipMemsetAsync(void* to, int value, size_t bytes, Stream* on) {
  return fill_on("hipMemsetAsync", to, (unsigned char)value, 1, bytes, on);
}
HIP_API hipMemsetD8Async(void* to, unsigned char value, size_t count_of, Stream* on) {
  return fill_on("hipMemsetAsync", to, value, 1, count_of, on);
}
HIP_API hipMemsetD16Async(void* to, unsigned short value, size_t count_of, Stream* on) {
  return fill_on("hipMemsetAsync", to, value, 2, count_of, on);
}
HIP_API hipMemsetD32Async(void* to, int value, size_t count_of, Stream* on) {
  return fill_on("hipMemsetAsync", to, (unsigned)value, 4, count_of, on);
}
HIP_API hipStreamWriteValue32(Stream* on, void* to, unsigned value, unsigned) {
  return fill_on("hipStreamWriteValue32", to, value, 4, 1, on);
}
