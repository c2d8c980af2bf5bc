// The API: code objects, and launches. A code object of the simulated compiler is "HIPSIM01", the
// architecture in 16 bytes, and a shared library of this machine.
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <sstream>

#include "call.h"
#include "counters.h"
#include "devices.h"
#include "kernels.h"
#include "memory.h"
#include "streams.h"

using namespace hipsim;

// What the API calls a function.
struct hipFunction {
  const Module* module;
  const Kernel* kernel;
};

// What the API calls a module; its functions end with it.
struct hipModule : Module {
  int file = -1;
  std::vector<std::unique_ptr<hipFunction>> functions;
};

namespace {

struct Header {
  char magic[8], arch[16];
  uint64_t bytes;
};

hipError load(hipModule& module, const char* image) {
  Header header;
  memcpy(&header, image, sizeof header.magic);
  if (memcmp(header.magic, "HIPSIM01", 8) != 0) {
    const bool is_code = !memcmp(image, "\177ELF", 4) || !memcmp(image, "__CLANG_", 8);
    return is_code ? hipErrorNoBinaryForGpu : hipErrorInvalidImage;
  }
  memcpy(&header, image, sizeof header);
  const std::string& arch = devices()[(size_t)current_device()].arch;
  if (arch.substr(0, arch.find(':')) != header.arch) {
    say("this code is for %s, the device is %s", header.arch, arch.c_str());
    return hipErrorNoBinaryForGpu;
  }
  // The file stays open as long as the module: its number is part of the name that dlopen knows.
  module.file = memfd_create("hipsim", MFD_CLOEXEC);
  const char* const library = image + sizeof header;
  if (write(module.file, library, header.bytes) != (ssize_t)header.bytes) {
    return hipErrorOutOfMemory;
  }
  const std::string path = "/proc/self/fd/" + std::to_string(module.file);
  module.library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!module.library) {
    say("%s", dlerror());
    return hipErrorInvalidImage;
  }
  module.kernels = static_cast<const Kernel*>(dlsym(module.library, "hipsim_kernels"));
  auto* const shared = static_cast<char**>(dlsym(module.library, "hipsim_shared"));
  if (!module.kernels || !shared) return hipErrorInvalidImage;
  module.shared = shared[0];
  module.shared_bytes = (size_t)(shared[1] - shared[0]);
  return hipSuccess;
}

void unload(hipModule* module) {
  if (module->library) dlclose(module->library);
  if (module->file >= 0) close(module->file);
  delete module;
}

// The kernarg segment, from either of the two ways to pass it.
hipError gather(const Kernel& kernel, void** values, void** extra, std::vector<char>& arguments) {
  arguments.resize(kernel.bytes + 16);
  if (!extra) {
    for (unsigned i = 0; values && i < kernel.count; i++) {
      memcpy(arguments.data() + kernel.offsets[i], values[i], kernel.sizes[i]);
    }
    return values || !kernel.count ? hipSuccess : hipErrorInvalidValue;
  }
  const void* buffer = nullptr;
  size_t bytes = 0;
  for (; *extra != (void*)3; extra += 2) {  // HIP_LAUNCH_PARAM_BUFFER_POINTER, _SIZE, _END
    if (*extra == (void*)1) buffer = extra[1];
    else if (*extra == (void*)2) bytes = *static_cast<size_t*>(extra[1]);
    else return hipErrorInvalidValue;
  }
  if (!buffer || bytes < kernel.bytes || bytes > ((kernel.bytes + 7) & ~7u)) {
    say("kernel %s takes %u bytes of arguments, not %zu", kernel.name, kernel.bytes, bytes);
    return hipErrorInvalidValue;
  }
  memcpy(arguments.data(), buffer, kernel.bytes);
  return hipSuccess;
}

bool pointers_are_the_devices(const Kernel& kernel, const std::vector<char>& arguments) {
  for (unsigned i = 0; i < kernel.count; i++) {
    if (kernel.roles[i] == Role::value) continue;
    void* pointer;
    memcpy(&pointer, arguments.data() + kernel.offsets[i], sizeof pointer);
    if (!pointer || kind_of(pointer, 1) != Kind::pageable) continue;
    say("kernel %s, argument %u: %p is not memory of the device", kernel.name, i, pointer);
    return false;
  }
  return true;
}

// What a corrupting fault spoils: the first bytes of the last output.
void spoil(const Launch& launch) {
  for (unsigned i = launch.kernel->count; i-- > 0;) {
    if (launch.kernel->roles[i] != Role::output) continue;
    char* pointer;
    memcpy(&pointer, launch.arguments.data() + launch.kernel->offsets[i], sizeof pointer);
    if (pointer && kind_of(pointer, 4) == Kind::device) return corrupt_bytes(pointer, 4);
  }
}

}  // namespace

HIP_API hipModuleLoadData(hipModule** module, const void* image) {
  Call call("hipModuleLoadData");
  call.not_while_capturing();
  call.require(!devices().empty(), hipErrorNoDevice);
  call.require(image, hipErrorInvalidValue);
  if (call.error) return call.answer();
  auto* const loading = new hipModule;
  const hipError error = load(*loading, static_cast<const char*>(image));
  if (error) unload(loading);
  else *module = loading;
  return call.answer(error);
}
HIP_API hipModuleLoadDataEx(hipModule** module, const void* image, unsigned, void*, void*) {
  return hipModuleLoadData(module, image);
}

HIP_API hipModuleUnload(hipModule* module) {
  Call call("hipModuleUnload");
  call.require(module, hipErrorInvalidHandle);
  if (call.error) return call.answer();
  const hipError error = finish_all();
  unload(module);
  return call.answer(error);
}

HIP_API hipModuleGetFunction(hipFunction** function, hipModule* module, const char* name) {
  Call call("hipModuleGetFunction", name);
  call.require(module, hipErrorInvalidHandle);
  if (call.error) return call.answer();
  for (const Kernel* kernel = module->kernels; kernel->name; kernel++) {
    if (strcmp(kernel->name, name) != 0) continue;
    module->functions.push_back(std::make_unique<hipFunction>(hipFunction{module, kernel}));
    *function = module->functions.back().get();
    return call.answer();
  }
  return call.answer(hipErrorNotFound);
}

// Only what is true of every kernel here: 0 is the most threads of a block.
HIP_API hipFuncGetAttribute(int* value, int attribute, hipFunction* function) {
  Call call("hipFuncGetAttribute");
  call.require(function, hipErrorInvalidHandle);
  *value = attribute == 0 ? 1024 : 0;
  return call.answer();
}

HIP_API hipFuncSetAttribute(const void*, int, int) { return hipSuccess; }

HIP_API hipModuleLaunchKernel(hipFunction* function, unsigned grid_x, unsigned grid_y,
                              unsigned grid_z, unsigned block_x, unsigned block_y,
                              unsigned block_z, unsigned shared, Stream* stream, void** values,
                              void** extra) {
  const std::string text = std::string(function ? function->kernel->name : "") +
                           (stream ? "" : " null");
  const size_t blocks = (size_t)grid_x * grid_y * grid_z;
  Call call("hipModuleLaunchKernel", text.c_str(), blocks);
  if (!stream) call.misuse("the null stream");
  call.require(function && (!stream || is_stream(stream)), hipErrorInvalidHandle);
  if (call.error) return call.answer();
  count(std::string("launch:") + function->kernel->name);
  const size_t threads = (size_t)block_x * block_y * block_z;
  if (!blocks || !threads || threads > 1024 || shared > 65536 || grid_y > 65535 ||
      grid_z > 65535) {
    say("kernel %s: a grid of %zu blocks of %zu threads with %u bytes of shared memory",
        function->kernel->name, blocks, threads, shared);
    return call.answer(hipErrorInvalidConfiguration);
  }
  auto launch = std::make_shared<Launch>(Launch{function->kernel, function->module,
                                                {grid_x, grid_y, grid_z},
                                                {block_x, block_y, block_z}, shared, {}});
  if (const hipError error = gather(*function->kernel, values, extra, launch->arguments)) {
    return call.answer(error);
  }
  const bool corrupt = call.corrupt;
  return call.answer(enqueue(stream ? *stream : null_stream(),
                             {[launch, corrupt](bool now_corrupt) {
                                if (!pointers_are_the_devices(*launch->kernel, launch->arguments)) {
                                  return hipErrorIllegalAddress;
                                }
                                const hipError error = run(*launch);
                                if (!error && (corrupt || now_corrupt)) spoil(*launch);
                                return error;
                              },
                              std::string("kernel ") + function->kernel->name, blocks}));
}
