"""The one module that imports hip-python: calls by name, and what their results mean.

What hangs or corrupts in the field cannot be said here: `CALLS` has no synchronous copy, no
stream-ordered or virtual-memory allocation, no registering of pageable memory, no wait without an
end; and streams, copies and launches are `forge_hip.runtime.stream`'s alone.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from hip import hip, hiprtc

from forge.backend import BackendError, BackendLost, BackendUnavailable
from forge_hip.runtime import libraries
from forge_hip.runtime.errors import LOST, compile_failure, failure
from forge_hip.runtime.marks import Marks

CALLS = frozenset(
    {
        *("hipInit", "hipGetDeviceCount", "hipSetDevice", "hipRuntimeGetVersion"),
        *("hipDriverGetVersion", "hipGetDeviceProperties", "hipDeviceGetAttribute"),
        *("hipDeviceGetName", "hipDeviceTotalMem", "hipDeviceGetPCIBusId", "hipMemGetInfo"),
        *("hipMalloc", "hipFree", "hipHostMalloc", "hipHostFree", "hipHostGetDevicePointer"),
        *("hipStreamCreateWithFlags", "hipStreamDestroy", "hipStreamQuery"),
        *("hipEventCreateWithFlags", "hipEventDestroy", "hipEventRecord", "hipEventQuery"),
        *("hipEventElapsedTime", "hipMemcpyAsync", "hipMemsetAsync"),
        *("hipModuleLoadData", "hipModuleUnload", "hipModuleGetFunction"),
        "hipModuleLaunchKernel",
        *("hipStreamBeginCapture", "hipStreamEndCapture", "hipGraphInstantiate"),
        *(
            "hipGraphInstantiateWithFlags",
            "hipGraphLaunch",
            "hipGraphDestroy",
            "hipGraphExecDestroy",
        ),
    }
)
"""All of HIP that the backend uses."""

_NEW = hasattr(hip, "has_symbol")
"""Whether the binding is of hip-python 10 or newer."""
_OK = hip.hipError_t.hipSuccess
_WAITS = hip.hipError_t.hipErrorNotReady
_COMPILED = hiprtc.hiprtcResult.HIPRTC_SUCCESS
_LAUNCH: Any = hip.hipModuleLaunchKernel
_PROPERTIES: Any = hip.hipDeviceProp_t
_KINDS = {
    (True, False): hip.hipMemcpyKind.hipMemcpyHostToDevice,
    (False, True): hip.hipMemcpyKind.hipMemcpyDeviceToHost,
    (False, False): hip.hipMemcpyKind.hipMemcpyDeviceToDevice,
}
_INSTALL = (
    "install ROCm's HIP runtime (https://rocm.docs.amd.com; Debian and Ubuntu: libamdhip64-6, "
    "Fedora: rocm-hip), or say where it is with ROCM_PATH"
)


class Driver:
    """Owns the loaded libraries and what is known of the device's death.

    Every call leaves a mark; one that fails raises one of forge's errors, and once the device is
    lost no further call is made: BackendLost at once.
    """

    def __init__(self, marks: Marks | None = None, environ: Mapping[str, str] | None = None):
        self.marks = marks or Marks()
        self.lost = ""
        self.path, self.compiler_path = libraries.pair(environ)
        if not self.path:
            raise BackendUnavailable(f"there is no libamdhip64 here: {_INSTALL}")
        _choose({libraries.HIP: self.path, libraries.HIPRTC: self.compiler_path})

    def call(self, name: str, *arguments: Any) -> Any:
        """Call one of `CALLS`; the value after its status, a tuple where there are several."""
        if name not in CALLS:
            raise ValueError(f"{name} is none of the calls that this backend makes")
        status, values = self._made(getattr(hip, name, None), name, arguments)
        if status is not _OK:
            raise self._failure(status.name, name)
        return values[0] if len(values) == 1 else values or None

    def tried(self, name: str, *arguments: Any) -> Any:
        """As `call`; None where this driver has no such function, as older ones may not."""
        return self.call(name, *arguments) if self.has(name) else None

    def has(self, name: str) -> bool:
        """Whether binding and library know the function; asking loads the library."""
        wanted = "hipGetDevicePropertiesR0600" if name == "hipGetDeviceProperties" else name
        if not hasattr(hip, name):
            return False
        try:
            if _NEW:
                return bool(hip.has_symbol(wanted))
            return hasattr(ctypes.CDLL(self.path), wanted)
        except (OSError, RuntimeError) as error:
            raise _absent(error, name) from None

    def finished(self, name: str, handle: Any) -> bool:
        """What hipEventQuery or hipStreamQuery says; an error of work that went before raises."""
        status, _ = self._made(getattr(hip, name), name, (handle,))
        if status is _OK:
            return True
        if status is _WAITS:
            return False
        raise self._failure(status.name, name)

    def launch(
        self,
        function: Any,
        grid: tuple[int, int, int],
        threads: tuple[int, int, int],
        shared: int,
        stream: Any,
        arguments: Any,
    ) -> None:
        """hipModuleLaunchKernel with arguments that were packed before (`launches.Packed`)."""
        if self.lost:
            raise BackendLost(self.lost)
        self.marks.enter("hipModuleLaunchKernel")
        status = _LAUNCH(function, *grid, *threads, shared, stream, None, arguments)[0]
        self.marks.leave()
        if status is not _OK:
            raise self._failure(status.name, "hipModuleLaunchKernel")

    def copy(
        self, target: int, source: int, size: int, from_host: bool, to_host: bool, stream: Any
    ) -> None:
        """hipMemcpyAsync between addresses that are the device's or pinned."""
        kind = _KINDS[from_host, to_host]
        self.call("hipMemcpyAsync", target, source, size, kind, stream)

    def compile(self, name: str, *arguments: Any) -> Any:
        """Call a function of hiprtc; as `call`."""
        status, values = self._made(getattr(hiprtc, name, None), name, arguments, alive=True)
        if status is not _COMPILED:
            raise compile_failure(status.name, name)
        return values[0] if len(values) == 1 else values or None

    def compiled(self, program: Any, options: Sequence[bytes]) -> str:
        """hiprtcCompileProgram; the name of what went wrong, of which the program's log tells."""
        name = "hiprtcCompileProgram"
        arguments = program, len(options), list(options)
        status, _ = self._made(hiprtc.hiprtcCompileProgram, name, arguments, alive=True)
        return "" if status is _COMPILED else str(status.name)

    def properties(self, index: int) -> Any:
        """hipGetDeviceProperties, in the layout that ROCm has since 6."""
        if _NEW:
            return self.call("hipGetDeviceProperties", index)
        found = _PROPERTIES()
        self.call("hipGetDeviceProperties", found, index)
        return found

    def instantiated(self, graph: Any) -> Any:
        """What hipGraphLaunch takes of a captured graph."""
        if self.has("hipGraphInstantiateWithFlags"):
            return self.call("hipGraphInstantiateWithFlags", graph, 0)
        found = self.call("hipGraphInstantiate", *((graph, 0) if _NEW else (graph, None, 0)))
        return found[0] if isinstance(found, tuple) else found

    def capture_mode(self) -> Any:
        """Of hipStreamBeginCapture: what other threads do is none of its business."""
        return hip.hipStreamCaptureMode.hipStreamCaptureModeThreadLocal

    def attribute(self, name: str) -> Any:
        """A member of hipDeviceAttribute_t: their numbers are not CUDA's."""
        return getattr(hip.hipDeviceAttribute_t, f"hipDeviceAttribute{name}")

    def _made(
        self, function: Any, name: str, arguments: tuple[Any, ...], alive: bool = False
    ) -> tuple[Any, tuple[Any, ...]]:
        if self.lost and not alive:
            raise BackendLost(self.lost)
        if function is None:
            raise BackendUnavailable(f"this hip-python has no {name}: pip install -U hip-python")
        self.marks.enter(name)
        try:
            status, *values = function(*arguments)
        except RuntimeError as error:  # no library, or none with this symbol
            raise _absent(error, name) from None
        except ValueError as error:  # a status that the binding does not know
            raise BackendError(f"the HIP driver failed ({name}: {error})") from None
        finally:
            self.marks.leave()
        return status, tuple(values)

    def _failure(self, code: str, name: str) -> BackendError:
        error = failure(code, name, self.marks.where() if code in LOST else "")
        if code in LOST:
            self.lost = str(error)
        return error


def _absent(error: Exception, name: str) -> BackendUnavailable:
    text = str(error)
    if "symbol" in text or "dlsym" in text:
        return BackendUnavailable(
            f"this ROCm is too old, its libraries have no {name} ({text}): {_INSTALL}"
        )
    return BackendUnavailable(f"ROCm's libraries do not load ({text}): {_INSTALL}")


def _choose(paths: Mapping[str, str]) -> None:
    """Have the binding load these files: left alone, it knows the unversioned names only.

    It asks for each path once, at the first call of the library.
    """
    if not _NEW:  # before version 10 it loads these names when they are first needed
        for module, name in (("hip.chip", libraries.HIP), ("hip.chiprtc", libraries.HIPRTC)):
            if paths[name]:
                vars(import_module(module))["DLL"] = os.fsencode(paths[name])
        return
    asked: Any = import_module("rocm.bindings.util.paths")
    original = getattr(asked.get_library_path, "original", asked.get_library_path)

    def get_library_path(shortname: str, bundled_location: Any = None) -> bytes:
        if found := paths.get(shortname):
            return os.fsencode(found)
        answer: bytes = original(shortname, bundled_location)
        return answer

    get_library_path.original = original  # type: ignore[attr-defined]  # for the next choice
    asked.get_library_path = get_library_path
