#include "settings.h"

#include <cstdlib>

namespace hipsim {
namespace {

std::string text(const char* name, const char* otherwise = "") {
  const char* value = getenv(name);
  return value && *value ? value : otherwise;
}

unsigned long number(const char* name, unsigned long otherwise) {
  const std::string value = text(name);
  return value.empty() ? otherwise : strtoul(value.c_str(), nullptr, 0);
}

Settings read() {
  const std::string strict = text("HIPSIM_STRICT", "error");
  Settings found;
  found.misuse = strict == "off"    ? Misuse::allowed
                 : strict == "hang" ? Misuse::hang
                                    : Misuse::error;
  found.storm = number("HIPSIM_STORM", 64);
  found.late = (unsigned)number("HIPSIM_LATE", 1);
  found.eager = number("HIPSIM_EAGER", 0);
  found.abort_on_fault = number("HIPSIM_ABORT", 0);
  found.order = text("HIPSIM_ORDER", "forward");
  found.poisoned = number("HIPSIM_POISON", 256ul << 20);
  found.version = (int)number("HIPSIM_VERSION", 70051831);
  found.faults = text("HIPSIM_FAULT");
  found.control = text("HIPSIM_CTL");
  found.counters = text("HIPSIM_COUNTERS");
  found.trace = text("HIPSIM_TRACE");
  found.wounds = text("HIPSIM_WOUNDS");
  return found;
}

}  // namespace

const Settings& settings() {
  static const Settings found = read();
  return found;
}

}  // namespace hipsim
