// The CUDA driver (libcuda.so.1), found when it is first called, and its answers as HIP's.
#pragma once
#include <cuda.h>

#include <utility>

#define HIP_API extern "C" __attribute__((visibility("default"))) int

namespace hipcuda {

// hipError_t and CUresult share their numbers but for a few, which are turned into the nearest.
int as_hip(int result);

// Kept for hipGetLastError.
int answer(int hip_error);
int last_error(bool forget);

void* symbol(const char* name);

// Make the one device's primary context this thread's; hipErrorNoDevice (100) where there is none.
int enter();

template <class Function, class... Arguments>
int call(Function function, Arguments... arguments) {
  if (const int error = enter()) return answer(error);
  return answer(function ? as_hip(function(arguments...)) : 801);  // hipErrorNotSupported
}

}  // namespace hipcuda

#define HIPCUDA_TEXT(name) #name
// cuda.h turns names into those of their newest version by macros: so does this, one step later.
#define HIPCUDA_SYMBOL(name)                                                        \
  ([] {                                                                             \
    static const auto found = (decltype(&name))hipcuda::symbol(HIPCUDA_TEXT(name)); \
    return found;                                                                   \
  }())
#define CUDA(name, ...) hipcuda::call(HIPCUDA_SYMBOL(name), ##__VA_ARGS__)
