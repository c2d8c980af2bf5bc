// Compiling with g++, once for all processes: the result is kept in a folder, by the hash of
// everything that went into it.
#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

#include "program.h"
#include "source.h"

namespace hipsim {
namespace {

using Words = std::vector<std::string>;

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

void write(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

// The folder above lib/: one of several versions of hipsim, which share what they compile.
std::string home() {
  Dl_info here = {};
  dladdr(reinterpret_cast<void*>(&home), &here);
  const std::string library = here.dli_fname;
  const std::string folder = library.substr(0, library.rfind('/'));
  return folder.substr(0, folder.rfind('/'));
}

// FNV-1a over 128 bits: a name for a cache's entry, not a defence.
std::string hash(const std::string& text) {
  unsigned __int128 state = ((unsigned __int128)0x6c62272e07bb0142 << 64) + 0x62b821756295c58d;
  const unsigned __int128 prime = ((unsigned __int128)1 << 88) + 0x13b;
  for (const char letter : text) state = (state ^ (unsigned char)letter) * prime;
  char name[40];
  snprintf(name, sizeof name, "%016lx%016lx", (unsigned long)(state >> 64), (unsigned long)state);
  return name;
}

// What the prelude and the way of compiling are, as build.py wrote it down.
std::string version() { return read(home() + "/version"); }

// What -march=native depends on.
std::string processor() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("flags", 0) == 0) return line;
  }
  return "";
}

Words command(const Options& options) {
  const char* const compiler = getenv("HIPSIM_CXX");
  std::istringstream words(compiler ? compiler : "g++");
  Words found;
  for (std::string word; words >> word;) found.push_back(word);
  const char* const more = getenv("HIPSIM_CXXFLAGS");
  for (const char* flag :
       {"-x", "c++", "-std=gnu++17", "-O2", "-march=native", "-ffp-contract=fast", "-fno-exceptions",
        "-fno-rtti", "-fno-math-errno", "-fno-trapping-math", "-fno-strict-aliasing",
        "-fno-gnu-unique", "-fno-threadsafe-statics", "-fvisibility=hidden", "-ffixed-r15", "-fPIC",
        "-w"}) {
    found.push_back(flag);
  }
  std::istringstream extra(more ? more : "");
  for (std::string word; extra >> word;) found.push_back(word);
  found.push_back("-D__" + options.arch + "__=1");
  const std::string family = options.arch.substr(0, options.arch.size() - 2);
  found.push_back("-D__GFX" + family.substr(3) + "__=1");
  found.insert(found.end(), options.passed_on.begin(), options.passed_on.end());
  return found;
}

int spawn(Words words, const std::string& errors) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(&word[0]);
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 2, errors.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, arguments[0], &files, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (failed) {
    write(errors, "cannot start " + words[0] + ": " + strerror(failed) + "\n");
    return failed;
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

// A folder that goes with everything in it.
class Scratch {
 public:
  Scratch() {
    const char* const base = getenv("TMPDIR");
    path = std::string(base && *base ? base : "/tmp") + "/hipsim.XXXXXX";
    if (!mkdtemp(&path[0])) path.clear();
  }
  ~Scratch() {
    for (const std::string& name : names) unlink((path + "/" + name).c_str());
    rmdir(path.c_str());
  }
  std::string file(const std::string& name) {
    names.push_back(name);
    return path + "/" + name;
  }
  std::string path;

 private:
  Words names;
};

std::string packed(const std::string& arch, const std::string& library) {
  char header[32] = "HIPSIM01";
  strncpy(header + 8, arch.c_str(), 15);
  const uint64_t bytes = library.size();
  memcpy(header + 24, &bytes, 8);
  return std::string(header, sizeof header) + library;
}

bool build(Program& program, const Options& options, const Words& words, const std::string& cached) {
  Scratch scratch;
  const std::string errors = scratch.file("errors");
  const std::string plain = scratch.file("kernels.cpp"), expanded = scratch.file("expanded.cpp");
  for (const auto& header : program.headers) {
    if (header.first.find('/') != std::string::npos) {
      program.log = "hipsim takes no header with a folder in its name: " + header.first + "\n";
      return false;
    }
    write(scratch.file(header.first), translate(header.second));
  }
  write(plain, "#include \"" + home() + "/prelude/hipsim.h\"\n#line 1 \"" + program.name + "\"\n" +
                   translate(program.source));
  Words preprocess = words;
  for (const std::string& word : {std::string("-I"), scratch.path, std::string("-E"),
                                  std::string("-o"), expanded, plain}) {
    preprocess.push_back(word);
  }
  int status = spawn(preprocess, errors);
  if (!status) {
    std::string text = read(expanded);
    const std::vector<std::string> kernels = take_kernels(text);
    write(expanded, text + table_of(kernels));
    Words link = words;
    const std::string library = scratch.file("kernels.so");
    for (const std::string& word : {std::string("-shared"), std::string("-nostartfiles"),
                                    std::string("-o"), library, expanded, std::string("-lm")}) {
      link.push_back(word);
    }
    link.insert(link.begin() + 1, "-Wl,-Bsymbolic");  // _end is this library's own
    status = spawn(link, errors);
    if (!status) program.code = packed(options.arch, read(library));
  }
  program.log = read(errors);
  if (status) return false;
  const std::string unfinished = cached + "." + std::to_string(getpid());
  write(unfinished, program.code);
  if (rename(unfinished.c_str(), cached.c_str())) unlink(unfinished.c_str());
  return true;
}

}  // namespace

bool compile(Program& program, const Options& options) {
  const Words words = command(options);
  std::string everything = version() + processor() + program.name + '\0' + program.source;
  for (const std::string& word : words) everything += '\0' + word;
  for (const auto& header : program.headers) everything += '\0' + header.first + '\0' + header.second;
  const std::string folder = home() + "/../kernels";
  mkdir(folder.c_str(), 0700);
  const std::string cached = folder + "/" + hash(everything);
  if (!options.reads_folders) program.code = read(cached);
  return !program.code.empty() || build(program, options, words, cached);
}

}  // namespace hipsim
