// The API: code objects (here cubins), and launches.
#include <cstdint>

#include "../../hipsim/driver/errors.h"
#include "cuda_driver.h"

namespace {

constexpr int shared_bytes = 65536;  // as much as an AMD work group has, without asking
constexpr int most_parts = 8;
void* const end_of_hips = (void*)3;  // HIP_LAUNCH_PARAM_END; CUDA's is 0

}  // namespace

HIP_API hipModuleLoadData(CUmodule* module, const void* image) {
  return CUDA(cuModuleLoadData, module, image);
}
HIP_API hipModuleLoadDataEx(CUmodule* module, const void* image, unsigned, void*, void*) {
  return hipModuleLoadData(module, image);
}
HIP_API hipModuleUnload(CUmodule module) { return CUDA(cuModuleUnload, module); }

HIP_API hipModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  if (const int error = CUDA(cuModuleGetFunction, function, module, name)) return error;
  int used = 0;
  CUDA(cuFuncGetAttribute, &used, CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES, *function);
  if (used < shared_bytes) {
    CUDA(cuFuncSetAttribute, *function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
         shared_bytes - used);
  }
  return 0;
}

HIP_API hipFuncGetAttribute(int* value, int attribute, CUfunction function) {
  return CUDA(cuFuncGetAttribute, value, (CUfunction_attribute)attribute, function);
}

HIP_API hipModuleLaunchKernel(CUfunction function, unsigned grid_x, unsigned grid_y,
                              unsigned grid_z, unsigned block_x, unsigned block_y,
                              unsigned block_z, unsigned shared, CUstream stream, void** values,
                              void** extra) {
  void* parts[most_parts + 1] = {};
  if (extra) {
    int count = 0;
    for (; count < most_parts && extra[count] != end_of_hips; count++) parts[count] = extra[count];
    if (count == most_parts) return hipcuda::answer(hipErrorInvalidValue);
    parts[count] = CU_LAUNCH_PARAM_END;
  }
  return CUDA(cuLaunchKernel, function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared,
              stream, values, extra ? parts : nullptr);
}
