// Fault scripts: what goes wrong, at which call.
//
//   rule; rule; ...    rule = call[conditions]@n=action
//
// `call` is a HIP function, or `device` for the moment at which the device does the work. The
// conditions, separated by spaces, must all hold: <bytes or >bytes of its size, `wounded` (a
// fault was injected into a process before this one, see HIPSIM_WOUNDS), or a word that the call's
// description contains (a kernel's name, h2d, d2h, d2d, pageable, pinned, null). `@n` is the nth
// match only, `@n+` from the nth on; without it every match counts.
//
//   hang      the call never returns and no signal but SIGKILL ends it
//   spin      the same, at 100 % of a core
//   stall     the device stops here: queries say "not ready" for ever, synchronising hangs
//   crash     SIGSEGV                  abort     SIGABRT, as ROCr does at a GPU memory fault
//   slow:MS   it takes so much longer  corrupt   what is written has a bit that is wrong
//   lost      hipErrorLaunchFailure, and so does every later call        err:N     this error, once
#pragma once
#include <cstddef>

#include "errors.h"

namespace hipsim {

struct Verdict {
  hipError error = hipSuccess;
  bool corrupt = false;
  bool stall = false;
};

// What the script says of this call; does the hanging, crashing and sleeping itself.
Verdict fault(const char* call, const char* description = "", size_t size = 0);

// The error that every call returns since the device was lost, or hipSuccess.
hipError lost();
void lose(hipError with);

// Never return, as a call that is stuck in the kernel does.
[[noreturn]] void hang();

}  // namespace hipsim
