// A program as the run-time compiler's API holds it.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace hipsim {

struct Program {
  std::string name, source, log, code;
  std::vector<std::pair<std::string, std::string>> headers;  // name and text
};

// The options that were understood.
struct Options {
  std::string arch;
  std::vector<std::string> passed_on;  // -D, -U, -I
  bool reads_folders = false;          // there was an -I: what lies there is not in the key
};

// Turn a program into "HIPSIM01" code; false with the compiler's words in `log`.
bool compile(Program& program, const Options& options);

}  // namespace hipsim
