#include "call.h"

#include "counters.h"
#include "faults.h"
#include "settings.h"
#include "streams.h"

namespace hipsim {
namespace {
thread_local hipError last = hipSuccess;
}

std::recursive_mutex& driver_lock() {
  static std::recursive_mutex mutex;
  return mutex;
}

Call::Call(const char* name, const char* description, size_t size) : name(name) {
  count(name);
  trace("%s %s %zu", name, description, size);
  const Verdict verdict = fault(name, description, size);  // may never return, so takes no lock
  error = lost() ? lost() : verdict.error;
  corrupt = verdict.corrupt;
  lock = std::unique_lock<std::recursive_mutex>(driver_lock());
}

void Call::misuse(const char* what) {
  count(std::string("misuse:") + what);
  trace("misuse: %s by %s", what, name);
  if (settings().misuse == Misuse::allowed) return;
  say("%s: %s is what hangs real drivers", name, what);
  if (settings().misuse == Misuse::hang) {
    lock.unlock();
    hang();
  }
  require(false, hipErrorNotSupported);
}

void Call::not_while_capturing() {
  if (!error && spoil_captures()) {
    say("%s is not allowed while a stream is captured", name);
    error = hipErrorStreamCaptureUnsupported;
  }
}

hipError Call::answer(hipError with) {
  const hipError result = error ? error : with;
  if (result && result != hipErrorNotReady) last = result;
  return result;
}

hipError last_error(bool forget) {
  const hipError result = lost() ? lost() : last;
  if (forget) last = hipSuccess;
  return result;
}

}  // namespace hipsim

// For the compiler's library: its calls are counted and fail like the driver's own.
extern "C" __attribute__((visibility("default"))) int hipsim_enter_call(const char* name,
                                                                        const char* description) {
  hipsim::count(name);
  hipsim::trace("%s %s", name, description);
  return hipsim::fault(name, description).error;
}
