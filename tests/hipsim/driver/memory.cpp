#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>

#include "settings.h"

namespace hipsim {
namespace {

constexpr size_t page = 4096, alignment = 256;

struct Range {
  size_t bytes;
  Kind kind;
  int device;
  char* mapping;
  size_t mapped;
};

std::map<uintptr_t, Range>& ranges() {
  static std::map<uintptr_t, Range> all;
  return all;
}

std::map<int, size_t>& used() {
  static std::map<int, size_t> bytes;
  return bytes;
}

size_t up(size_t bytes, size_t to) { return (bytes + to - 1) / to * to; }

}  // namespace

Kind kind_of(const void* address, size_t bytes) {
  const auto at = (uintptr_t)address;
  auto found = ranges().upper_bound(at);
  if (found == ranges().begin()) return Kind::pageable;
  --found;
  const uintptr_t end = found->first + found->second.bytes;
  if (at >= end) return Kind::pageable;
  return at + bytes <= end ? found->second.kind : Kind::overrun;
}

void* allocate(size_t bytes, Kind kind, int device) {
  const size_t mapped = up(bytes, page) + 2 * page;
  void* mapping =
      mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping == MAP_FAILED) return nullptr;
  char* const begin = static_cast<char*>(mapping);
  mprotect(begin + page, mapped - 2 * page, PROT_READ | PROT_WRITE);
  char* const address = begin + mapped - page - up(bytes, alignment);
  memset(address, 0xff, std::min(bytes, settings().poisoned));
  ranges()[(uintptr_t)address] = {bytes, kind, device, begin, mapped};
  if (kind == Kind::device) used()[device] += bytes;
  return address;
}

bool release(void* address, Kind kind) {
  const auto found = ranges().find((uintptr_t)address);
  if (found == ranges().end() || found->second.kind != kind) return false;
  if (kind == Kind::device) used()[found->second.device] -= found->second.bytes;
  munmap(found->second.mapping, found->second.mapped);
  ranges().erase(found);
  return true;
}

bool register_pages(void* address, size_t bytes) {
  if (kind_of(address, bytes) != Kind::pageable) return false;
  ranges()[(uintptr_t)address] = {bytes, Kind::registered, 0, nullptr, 0};
  return true;
}

bool unregister_pages(void* address) {
  const auto found = ranges().find((uintptr_t)address);
  if (found == ranges().end() || found->second.kind != Kind::registered) return false;
  ranges().erase(found);
  return true;
}

size_t used_on(int device) { return used()[device]; }

void corrupt_bytes(void* address, size_t bytes) {
  if (!bytes) return;
  const size_t middle = std::min(bytes / 2 | 3, bytes - 1);  // byte 3: a float's exponent
  static_cast<unsigned char*>(address)[middle] ^= 0x40;
}

}  // namespace hipsim
