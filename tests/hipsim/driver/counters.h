// What happened, for tests to read while the process runs and after it was killed.
#pragma once
#include <string>

namespace hipsim {

// Add to a counter of this process: a record of HIPSIM_COUNTERS/PID.counts, a shared mapping.
void count(const std::string& name, unsigned long by = 1);

// Add a line to HIPSIM_TRACE.
void trace(const char* format, ...) __attribute__((format(printf, 1, 2)));

// Tell the person on stderr why something was refused.
void say(const char* format, ...) __attribute__((format(printf, 1, 2)));

}  // namespace hipsim
