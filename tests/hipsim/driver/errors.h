// hipError_t, with HIP's own names and numbers.
#pragma once

#define HIPSIM_ERRORS(X)                 \
  X(hipSuccess, 0)                       \
  X(hipErrorInvalidValue, 1)             \
  X(hipErrorOutOfMemory, 2)              \
  X(hipErrorNotInitialized, 3)           \
  X(hipErrorInvalidConfiguration, 9)     \
  X(hipErrorInvalidDevicePointer, 17)    \
  X(hipErrorInvalidMemcpyDirection, 21)  \
  X(hipErrorNoDevice, 100)               \
  X(hipErrorInvalidDevice, 101)          \
  X(hipErrorInvalidImage, 200)           \
  X(hipErrorNoBinaryForGpu, 209)         \
  X(hipErrorInvalidHandle, 400)          \
  X(hipErrorNotFound, 500)               \
  X(hipErrorNotReady, 600)               \
  X(hipErrorIllegalAddress, 700)         \
  X(hipErrorLaunchTimeOut, 702)          \
  X(hipErrorHostMemoryAlreadyRegistered, 712) \
  X(hipErrorHostMemoryNotRegistered, 713)     \
  X(hipErrorLaunchFailure, 719)          \
  X(hipErrorNotSupported, 801)           \
  X(hipErrorStreamCaptureUnsupported, 900)    \
  X(hipErrorStreamCaptureInvalidated, 901)    \
  X(hipErrorStreamCaptureUnmatched, 903)      \
  X(hipErrorStreamCaptureImplicit, 906)       \
  X(hipErrorCapturedEvent, 907)          \
  X(hipErrorUnknown, 999)

enum hipError : int {
#define X(name, number) name = number,
  HIPSIM_ERRORS(X)
#undef X
};
