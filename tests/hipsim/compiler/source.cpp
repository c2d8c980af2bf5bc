#include "source.h"

#include <cctype>
#include <regex>

namespace hipsim {
namespace {

const std::string mark = "__global__";

bool part_of_a_name(char letter) { return isalnum((unsigned char)letter) || letter == '_'; }

// Behind the `)` that closes the bracket at `from`.
size_t behind_brackets(const std::string& text, size_t from) {
  int depth = 0;
  for (size_t at = from; at < text.size(); at++) {
    if (text[at] == '(') depth++;
    if (text[at] == ')' && --depth == 0) return at + 1;
  }
  return text.size();
}

// The function's name: the word before the first bracket that belongs to no attribute.
std::string name_behind(const std::string& text, size_t at) {
  std::string word;
  while (at < text.size()) {
    if (part_of_a_name(text[at])) {
      word.clear();
      while (at < text.size() && part_of_a_name(text[at])) word += text[at++];
    } else if (text[at] == '(' && word == "__attribute__") {
      at = behind_brackets(text, at);
    } else if (text[at] == '(') {
      return word;
    } else {
      at++;
    }
  }
  return "";
}

}  // namespace

std::string translate(std::string source) {
  static const std::regex typedefs(
      R"(typedef\s+([A-Za-z_][\w ]*?)\s+(\w+)\s+__attribute__\s*\(\(\s*ext_vector_type\(([^)]*)\)\s*\)\))");
  static const std::regex attributes(
      R"(typedef\s+__attribute__\s*\(\(\s*ext_vector_type\(([^)]*)\)\s*\)\)\s+([A-Za-z_][\w ]*?)\s+(\w+)\s*;)");
  static const std::regex aliases(
      R"(using\s+(\w+)\s*=\s*([A-Za-z_][\w ]*?)\s+__attribute__\s*\(\(\s*ext_vector_type\(([^)]*)\)\s*\)\))");
  static const std::regex dynamic(
      R"(extern\s+__shared__\s+([A-Za-z_][\w ]*?)\s*(\w+)\s*\[\s*\]\s*;)");
  if (source.find("ext_vector_type") != std::string::npos) {
    source = std::regex_replace(
        source, typedefs, "typedef $1 $2 __attribute__((vector_size(($3) * sizeof($1))))");
    source = std::regex_replace(
        source, attributes, "typedef $2 $3 __attribute__((vector_size(($1) * sizeof($2))));");
    source = std::regex_replace(
        source, aliases, "typedef $2 $1 __attribute__((vector_size(($3) * sizeof($2))))");
  }
  if (source.find("extern") != std::string::npos) {
    source = std::regex_replace(source, dynamic,
                                "$1* const $2 = ($1*)hipsim_thread->block->shared;");
  }
  return source;
}

std::vector<std::string> take_kernels(std::string& preprocessed) {
  std::vector<std::string> kernels;
  const std::string instead = "__attribute__((noinline,used))";
  for (size_t at = 0; (at = preprocessed.find(mark, at)) != std::string::npos;) {
    const std::string name = name_behind(preprocessed, at + mark.size());
    bool known = name.empty();
    for (const std::string& other : kernels) known |= other == name;
    if (!known) kernels.push_back(name);
    preprocessed.replace(at, mark.size(), instead);
    at += instead.size();
  }
  return kernels;
}

std::string table_of(const std::vector<std::string>& kernels) {
  std::string table =
      "\n#define HIPSIM_SHOWN extern \"C\" __attribute__((visibility(\"default\"), used))\n"
      "extern char hipsim_begin[] asm(\"__bss_start\") __attribute__((visibility(\"hidden\")));\n"
      "extern char hipsim_end[] asm(\"_end\") __attribute__((visibility(\"hidden\")));\n"
      "HIPSIM_SHOWN char* const hipsim_shared[] = {hipsim_begin, hipsim_end};\n"
      "HIPSIM_SHOWN const hipsim::Kernel hipsim_kernels[] = {\n";
  for (const std::string& kernel : kernels) {
    table += "  hipsim::describe<&" + kernel + ">(\"" + kernel + "\"),\n";
  }
  return table + "  {}};\n";
}

}  // namespace hipsim
