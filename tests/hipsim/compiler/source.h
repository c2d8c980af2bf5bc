// The little that has to change in a kernel's source before g++ takes it.
#pragma once
#include <string>
#include <vector>

namespace hipsim {

// clang's vectors count elements where g++'s count bytes; dynamic shared memory has an address.
std::string translate(std::string source);

// The kernels of a preprocessed source, in their order; `__global__` is taken out of it.
std::vector<std::string> take_kernels(std::string& preprocessed);

// The table that the driver reads, to put behind the source.
std::string table_of(const std::vector<std::string>& kernels);

}  // namespace hipsim
