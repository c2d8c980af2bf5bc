// libhiprtc.so: the run-time compiler's API, over g++. Its calls obey the driver's fault script.
#include <dlfcn.h>

#include <cstring>

#include "program.h"

using hipsim::Options;
using hipsim::Program;

#define RTC_API extern "C" __attribute__((visibility("default")))

namespace {

enum Result {
  success = 0,
  invalid_input = 3,
  invalid_program = 4,
  invalid_option = 5,
  compilation = 6,
  internal_error = 11,
};

const char* const names[] = {
    "HIPRTC_SUCCESS", "HIPRTC_ERROR_OUT_OF_MEMORY", "HIPRTC_ERROR_PROGRAM_CREATION_FAILURE",
    "HIPRTC_ERROR_INVALID_INPUT", "HIPRTC_ERROR_INVALID_PROGRAM", "HIPRTC_ERROR_INVALID_OPTION",
    "HIPRTC_ERROR_COMPILATION"};

bool begins(const std::string& text, const char* with) { return text.rfind(with, 0) == 0; }

// A function of the driver's library, which lies beside this one.
template <class Function>
Function of_the_driver(const char* name) {
  Dl_info here = {};
  dladdr(reinterpret_cast<void*>(&begins), &here);
  std::string driver = here.dli_fname;
  driver = driver.substr(0, driver.rfind('/')) + "/libamdhip64.so";
  void* const library = dlopen(driver.c_str(), RTLD_NOW);
  return reinterpret_cast<Function>(library ? dlsym(library, name) : nullptr);
}

// What the fault script says.
int obey(const char* call, const char* description) {
  const auto enter = of_the_driver<int (*)(const char*, const char*)>("hipsim_enter_call");
  return enter ? enter(call, description) : 0;
}

// Options for the AMD target alone (-m, -f, -W, -O and so on) are accepted and mean nothing here.
bool understand(Program& program, int count, const char** given, Options& options) {
  for (int i = 0; i < count; i++) {
    const std::string option = given[i];
    if (begins(option, "--offload-arch=") || begins(option, "--gpu-architecture=")) {
      options.arch = option.substr(option.find('=') + 1);
      options.arch = options.arch.substr(0, options.arch.find(':'));
    } else if (begins(option, "-D") || begins(option, "-U") || begins(option, "-I")) {
      options.passed_on.push_back(option);
      options.reads_folders |= begins(option, "-I");
    } else if (!begins(option, "-m") && !begins(option, "-f") && !begins(option, "-W") &&
               !begins(option, "-O") && !begins(option, "-std=") && !begins(option, "--std=") &&
               !begins(option, "-g") && option != "-w") {
      program.log = "unknown argument: '" + option + "'\n";
      return false;
    }
  }
  if (options.arch.empty()) {  // as the real one: for the GPU that there is
    const auto arch = of_the_driver<const char* (*)()>("hipsim_current_arch");
    options.arch = arch ? arch() : "";
    options.arch = options.arch.substr(0, options.arch.find(':'));
  }
  if (options.arch.empty()) program.log = "there is no GPU to compile for\n";
  return !options.arch.empty();
}

}  // namespace

RTC_API const char* hiprtcGetErrorString(int result) {
  return result >= 0 && result <= compilation ? names[result] : "HIPRTC_ERROR_INTERNAL_ERROR";
}

RTC_API int hiprtcVersion(int* major, int* minor) {
  *major = 9;
  *minor = 0;
  return success;
}

RTC_API int hiprtcCreateProgram(Program** program, const char* source, const char* name, int headers,
                                const char* const* texts, const char* const* names) {
  if (!program || !source) return invalid_input;
  *program = new Program;
  (*program)->source = source;
  (*program)->name = name && *name ? name : "program";
  for (int i = 0; i < headers; i++) (*program)->headers.push_back({names[i], texts[i]});
  return obey("hiprtcCreateProgram", (*program)->name.c_str()) ? internal_error : success;
}

RTC_API int hiprtcDestroyProgram(Program** program) {
  if (!program) return invalid_program;
  delete *program;
  *program = nullptr;
  return success;
}

RTC_API int hiprtcCompileProgram(Program* program, int count, const char** given) {
  if (!program) return invalid_program;
  if (const int error = obey("hiprtcCompileProgram", program->name.c_str())) {
    program->log = "the fault script says so\n";
    return error;
  }
  Options options;
  if (!understand(*program, count, given, options)) return invalid_option;
  return compile(*program, options) ? success : compilation;
}

RTC_API int hiprtcGetProgramLogSize(Program* program, size_t* bytes) {
  *bytes = program->log.size() + 1;
  return success;
}
RTC_API int hiprtcGetProgramLog(Program* program, char* log) {
  memcpy(log, program->log.c_str(), program->log.size() + 1);
  return success;
}
RTC_API int hiprtcGetCodeSize(Program* program, size_t* bytes) {
  *bytes = program->code.size();
  return program->code.empty() ? invalid_program : success;
}
RTC_API int hiprtcGetCode(Program* program, char* code) {
  memcpy(code, program->code.data(), program->code.size());
  return program->code.empty() ? invalid_program : success;
}
