// The simulated graphics cards, as the environment describes them.
#pragma once
#include <string>
#include <vector>

namespace hipsim {

struct Device {
  std::string name, arch, pci, uuid;
  size_t memory;
  bool integrated;
  int units;  // compute units
};

// HIPSIM_DEVICES: cards separated by ';', each "name=...,arch=...,pci=0000:03:00.0,memory=MiB,
// integrated=0,uuid=16 hex digits,units=48", any left out; "0" is no card. Of these, those that
// ROCR_VISIBLE_DEVICES and then HIP_VISIBLE_DEVICES leave, in their order.
const std::vector<Device>& devices();

int& current_device();
bool is_device(int number);

}  // namespace hipsim
