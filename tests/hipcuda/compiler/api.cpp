// libhiprtc.so on NVRTC: hiprtcResult and nvrtcResult have the same numbers up to 11.
#include <dlfcn.h>
#include <nvrtc.h>

#include <cstdlib>
#include <string>
#include <vector>

#define RTC_API extern "C" __attribute__((visibility("default"))) int

namespace {

constexpr int internal_error = 11;

// HIPCUDA_NVRTC, else what the dynamic linker knows.
void* library() {
  static void* const found = [] {
    void* opened = nullptr;
    const char* const asked = getenv("HIPCUDA_NVRTC");
    for (const char* name : {asked ? asked : "", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"}) {
      if (!opened && *name) opened = dlopen(name, RTLD_NOW);
    }
    return opened;
  }();
  return found;
}

template <class Function, class... Arguments>
int call(Function function, Arguments... arguments) {
  return function ? (int)function(arguments...) : internal_error;
}
#define NVRTC(name, ...) \
  call((decltype(&name))(library() ? dlsym(library(), #name) : nullptr), ##__VA_ARGS__)

// The GPU's own architecture: HIPCUDA_SM, else what the CUDA driver says, else Hopper's.
std::string target() {
  if (const char* const asked = getenv("HIPCUDA_SM")) return std::string("sm_") + asked;
  void* const cuda = dlopen("libcuda.so.1", RTLD_NOW);
  using Initialise = int (*)(unsigned);
  using Attribute = int (*)(int*, int, int);
  const auto initialise = cuda ? (Initialise)dlsym(cuda, "cuInit") : nullptr;
  const auto attribute = cuda ? (Attribute)dlsym(cuda, "cuDeviceGetAttribute") : nullptr;
  int major = 9, minor = 0;
  if (initialise && attribute && !initialise(0)) {
    attribute(&major, 75, 0);  // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
    attribute(&minor, 76, 0);
  }
  return "sm_" + std::to_string(major) + std::to_string(minor);
}

bool begins(const std::string& text, const char* with) { return text.rfind(with, 0) == 0; }

}  // namespace

extern "C" __attribute__((visibility("default"))) const char* hiprtcGetErrorString(int result) {
  const auto name = (decltype(&nvrtcGetErrorString))(library() ? dlsym(library(), "nvrtcGetErrorString")
                                                               : nullptr);
  return name ? name((nvrtcResult)result) : "there is no NVRTC: HIPCUDA_NVRTC names one";
}

RTC_API hiprtcVersion(int* major, int* minor) {
  *major = 9;
  *minor = 0;
  return 0;
}

RTC_API hiprtcCreateProgram(nvrtcProgram* program, const char* source, const char* name,
                            int headers, const char* const* texts, const char* const* names) {
  return NVRTC(nvrtcCreateProgram, program, source, name, headers, texts, names);
}

RTC_API hiprtcDestroyProgram(nvrtcProgram* program) { return NVRTC(nvrtcDestroyProgram, program); }

// Options for clang or for the AMD target mean nothing here and are left out.
RTC_API hiprtcCompileProgram(nvrtcProgram program, int count, const char** given) {
  std::vector<std::string> options = {"--gpu-architecture=" + target(), "-lineinfo",
                                      "--std=c++17"};
  for (int i = 0; i < count; i++) {
    const std::string option = given[i];
    if (begins(option, "-D") || begins(option, "-U") || begins(option, "-I")) {
      options.push_back(option);
    } else if (option == "-ffast-math") {
      options.push_back("--use_fast_math");
    }
  }
  std::vector<const char*> words;
  for (const std::string& option : options) words.push_back(option.c_str());
  return NVRTC(nvrtcCompileProgram, program, (int)words.size(), words.data());
}

RTC_API hiprtcGetProgramLogSize(nvrtcProgram program, size_t* bytes) {
  return NVRTC(nvrtcGetProgramLogSize, program, bytes);
}
RTC_API hiprtcGetProgramLog(nvrtcProgram program, char* log) {
  return NVRTC(nvrtcGetProgramLog, program, log);
}
RTC_API hiprtcGetCodeSize(nvrtcProgram program, size_t* bytes) {
  return NVRTC(nvrtcGetCUBINSize, program, bytes);
}
RTC_API hiprtcGetCode(nvrtcProgram program, char* code) {
  return NVRTC(nvrtcGetCUBIN, program, code);
}
