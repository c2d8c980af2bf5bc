#include "cuda_driver.h"

#include <dlfcn.h>

namespace hipcuda {
namespace {

thread_local int last = 0;

void* library() {
  static void* const found = dlopen("libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
  return found;
}

struct Context {
  int error = 0;
  CUcontext context = nullptr;
};

Context open() {
  Context found;
  const auto initialise = HIPCUDA_SYMBOL(cuInit);
  const auto retain = HIPCUDA_SYMBOL(cuDevicePrimaryCtxRetain);
  if (!initialise || !retain) found.error = 100;
  else if (const int error = as_hip(initialise(0))) found.error = error;
  else found.error = as_hip(retain(&found.context, 0));
  return found;
}

}  // namespace

int as_hip(int result) {
  switch (result) {
    case 222: case 223: case 300: return 209;      // PTX this driver cannot take: no binary
    case 710: return 710;                          // assert
    case 714: case 715: case 716: case 717: case 718: return 719;  // misaligned and the like
    case 720: return 720;
    case 802: case 803: case 804: return 100;      // driver and system do not fit together
    default: return result;
  }
}

int answer(int hip_error) {
  if (hip_error && hip_error != 600) last = hip_error;  // not ready is no error
  return hip_error;
}

int last_error(bool forget) { return forget ? std::exchange(last, 0) : last; }

void* symbol(const char* name) { return library() ? dlsym(library(), name) : nullptr; }

int enter() {
  static const Context device = open();
  if (device.error) return device.error;
  thread_local bool entered = false;
  if (!entered) {
    const int error = as_hip(HIPCUDA_SYMBOL(cuCtxSetCurrent)(device.context));
    if (error) return error;
    entered = true;
  }
  return 0;
}

}  // namespace hipcuda
