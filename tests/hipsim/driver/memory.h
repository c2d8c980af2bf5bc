// Where allocations lie, and what they are. Each ends at a guard page and begins as NaN.
#pragma once
#include <cstddef>

namespace hipsim {

enum class Kind {
  pageable,    // memory that the driver has not given out
  device,      // hipMalloc
  pinned,      // hipHostMalloc
  registered,  // hipHostRegister
  overrun,     // begins in an allocation and goes past its end
};

Kind kind_of(const void* address, size_t bytes);

// Memory of that kind on a device; null when there is none left.
void* allocate(size_t bytes, Kind kind, int device);
bool release(void* address, Kind kind);

bool register_pages(void* address, size_t bytes);
bool unregister_pages(void* address);

size_t used_on(int device);

// Flip a bit in the middle of these bytes, in a place that changes a float visibly.
void corrupt_bytes(void* address, size_t bytes);

}  // namespace hipsim
