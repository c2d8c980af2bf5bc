#include "devices.h"

#include <cstdlib>
#include <sstream>

#include "counters.h"

namespace hipsim {
namespace {

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::string part;
  for (std::istringstream stream(text); std::getline(stream, part, at);) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

Device describe(const std::string& text, size_t number) {
  char pci[16], uuid[24];
  snprintf(pci, sizeof pci, "0000:%02zx:00.0", 3 + number);
  snprintf(uuid, sizeof uuid, "%016zx", 0x51a0000000000001 + number);
  Device device = {"Simulated Radeon", "gfx1100", pci, uuid, 4ul << 30, false, 4};
  for (const std::string& field : split(text, ',')) {
    const size_t equals = field.find('=');
    const std::string key = field.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : field.substr(equals + 1);
    if (key == "name") device.name = value;
    else if (key == "arch") device.arch = value;
    else if (key == "pci") device.pci = value;
    else if (key == "uuid") device.uuid = value;
    else if (key == "memory") device.memory = strtoul(value.c_str(), nullptr, 0) << 20;
    else if (key == "integrated") device.integrated = value != "0";
    else if (key == "units") device.units = atoi(value.c_str());
    else say("HIPSIM_DEVICES: a card has no field called %s", key.c_str());
  }
  return device;
}

// Like ROCm, the list ends at the first entry that names no card.
std::vector<Device> visible(const std::vector<Device>& all, const char* variable) {
  const char* const list = getenv(variable);
  if (!list) return all;
  std::vector<Device> left;
  for (const std::string& entry : split(list, ',')) {
    const Device* found = nullptr;
    for (size_t i = 0; i < all.size(); i++) {
      if (entry == std::to_string(i) || entry == "GPU-" + all[i].uuid) found = &all[i];
    }
    if (!found) break;
    left.push_back(*found);
  }
  return left;
}

std::vector<Device> read() {
  const char* const text = getenv("HIPSIM_DEVICES");
  std::vector<Device> all;
  if (!text) {
    all.push_back(describe("", 0));
  } else if (std::string(text) != "0") {
    for (const std::string& part : split(text, ';')) all.push_back(describe(part, all.size()));
  }
  return visible(visible(all, "ROCR_VISIBLE_DEVICES"), "HIP_VISIBLE_DEVICES");
}

}  // namespace

const std::vector<Device>& devices() {
  static const std::vector<Device> found = read();
  return found;
}

int& current_device() {
  thread_local int number = 0;
  return number;
}

bool is_device(int number) { return number >= 0 && (size_t)number < devices().size(); }

}  // namespace hipsim
