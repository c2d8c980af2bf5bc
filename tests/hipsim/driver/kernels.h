// Launching a kernel of a loaded module over its grid.
#pragma once
#include <cstddef>
#include <memory>
#include <vector>

#include "../prelude/abi.h"
#include "errors.h"

namespace hipsim {

struct Module {
  void* library = nullptr;
  const Kernel* kernels = nullptr;
  char* shared = nullptr;  // the static shared memory of all of its kernels
  size_t shared_bytes = 0;
};

struct Launch {
  const Kernel* kernel;
  const Module* module;
  Dim grid, block;
  unsigned shared_bytes;  // dynamic
  std::vector<char> arguments;
};

// Run all blocks, one after the other; the first that fails ends the launch.
hipError run(Launch& launch);

}  // namespace hipsim
