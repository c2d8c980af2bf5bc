"""What a HIP error code means for a reply: one of forge's errors, with what to do next.

Codes are known by their names, which HIP has kept; their numbers are CUDA's for the most part.
"""

from __future__ import annotations

import os

from forge.backend import (
    BackendError,
    BackendLost,
    BackendOutOfMemory,
    BackendUnavailable,
    BackendUnsupported,
)

LOST = frozenset(
    {
        *("hipErrorIllegalAddress", "hipErrorLaunchFailure", "hipErrorLaunchTimeOut"),
        *("hipErrorAssert", "hipErrorECCNotCorrectable", "hipErrorContextIsDestroyed"),
        *("hipErrorPriorLaunchFailure", "hipErrorDeinitialized", "hipErrorUnknown"),
    }
)
"""After one of these the context is gone: HIP gives the same answer to every later call."""

_MEMORY = frozenset({"hipErrorOutOfMemory", "hipErrorMemoryAllocation", "hipErrorRuntimeMemory"})
_ABSENT = frozenset(
    {
        *("hipErrorNoDevice", "hipErrorInvalidDevice", "hipErrorNotInitialized"),
        *("hipErrorInitializationError", "hipErrorInsufficientDriver", "hipErrorOperatingSystem"),
        "hipErrorSharedObjectInitFailed",
    }
)
"""A machine without a usable GPU says the first to hipGetDeviceCount, the second to the rest."""
_STARTING = ("hipInit", "hipGetDevice", "hipSetDevice", "hipDeviceGet", "hipStreamCreate")
_NO_CODE = frozenset(
    {
        *("hipErrorNoBinaryForGpu", "hipErrorInvalidImage", "hipErrorInvalidKernelFile"),
        *("hipErrorInvalidDeviceFunction", "hipErrorSharedObjectInitFailed"),
    }
)
"""No code object for the device's instruction set, or one that the driver does not read."""
_UNSUPPORTED = frozenset({"hipErrorNotSupported"})

LOOK = ": `forge doctor` looks at the driver, /dev/kfd and who may open it"
"""What to do, where nobody knows better."""

OVERRIDE = "HSA_OVERRIDE_GFX_VERSION"
"""Has ROCm take a GPU for another; forge never sets it."""


class HipFailure(BackendError):
    """An error of HIP's that is none of the others; `code` is its name."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def failure(code: str, call: str, place: str = "") -> BackendError:
    """The error to raise for HIP's `code` out of `call`; `place` is where the device was."""
    said = f"{call}: {code}"
    if code in LOST:
        where = f"; the last that it began: {place}" if place else ""
        return BackendLost(f"the HIP driver says that the device is lost ({said}){where}")
    if code in _MEMORY:
        return BackendOutOfMemory(f"the device has no memory left ({said})")
    if code in _NO_CODE and call.startswith(("hipModule", "hipLaunch")):
        return BackendError(
            f"the HIP driver does not take code for this GPU ({said}): {_instruction_set_advice()}"
        )
    if code in _ABSENT and call.startswith(_STARTING):
        return BackendUnavailable(f"HIP finds no AMD GPU that it can use ({said}){LOOK}")
    if code in _UNSUPPORTED:
        return BackendUnsupported(f"this HIP driver does not support {call} ({code})")
    return HipFailure(f"the HIP driver failed ({said})", code)


def compile_failure(code: str, call: str, log: str = "", name: str = "") -> BackendError:
    """The error for hiprtc's `code`: the log says what is wrong with the source."""
    said = "\n".join(log.strip().splitlines()[:8])
    return BackendError(
        f"hiprtc failed{name and ' to compile '}{name} ({call}: {code})"
        + (f":\n{said}" if said else "")
    )


def _instruction_set_advice() -> str:
    override = os.environ.get(OVERRIDE)
    if override:
        return f"unset {OVERRIDE} (it is {override!r}), which has ROCm take this GPU for another"
    return "`forge warmup -b hip` compiles it anew; if it stays so, ROCm here is too old for it"
