// What every function of the API does first: count, trace, obey the fault script, refuse misuse,
// and take the driver's one lock.
#pragma once
#include <mutex>

#include "errors.h"

#define HIP_API extern "C" __attribute__((visibility("default"))) hipError

namespace hipsim {

std::recursive_mutex& driver_lock();

class Call {
 public:
  explicit Call(const char* name, const char* description = "", size_t size = 0);

  // Something that forge must never do: counted; refused, or hung, or let pass as configured.
  void misuse(const char* what);

  // Refuse while a stream is being captured, and spoil its capture.
  void not_while_capturing();

  void require(bool condition, hipError otherwise) {
    if (!error && !condition) error = otherwise;
  }

  // The call's own answer; kept for hipGetLastError.
  hipError answer(hipError with = hipSuccess);

  hipError error = hipSuccess;
  bool corrupt = false;

 private:
  const char* name;
  std::unique_lock<std::recursive_mutex> lock;
};

hipError last_error(bool forget);

}  // namespace hipsim
