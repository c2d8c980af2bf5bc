// What the environment asks of the simulated driver. README.md explains each name.
#pragma once
#include <cstddef>
#include <string>

namespace hipsim {

enum class Misuse { allowed, error, hang };

struct Settings {
  Misuse misuse;          // HIPSIM_STRICT=off|error|hang
  unsigned long storm;    // HIPSIM_STORM: hipMalloc calls of one process that are a storm
  unsigned late;          // HIPSIM_LATE: queries that find nothing done before work begins
  bool eager;             // HIPSIM_EAGER=1: work is done when it is asked for
  bool abort_on_fault;    // HIPSIM_ABORT=1: a bad address ends the process, as ROCr does
  std::string order;      // HIPSIM_ORDER=forward|reverse|random
  size_t poisoned;        // HIPSIM_POISON: bytes of a new allocation that are filled with NaN
  int version;            // HIPSIM_VERSION, as hipRuntimeGetVersion gives it
  std::string faults;     // HIPSIM_FAULT
  std::string control;    // HIPSIM_CTL: a file of further faults, read again when it changes
  std::string counters;   // HIPSIM_COUNTERS: a folder
  std::string trace;      // HIPSIM_TRACE: a file that each call adds a line to
  std::string wounds;     // HIPSIM_WOUNDS: a file that the first fault leaves behind
};

// Read once, at the first call.
const Settings& settings();

}  // namespace hipsim
