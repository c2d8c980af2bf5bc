"""A few lines over hip-python for the simulator's own tests: raise by name, no numpy."""

from __future__ import annotations

import ctypes
from array import array
from typing import Any

from hip import hip, hiprtc

TO_DEVICE = hip.hipMemcpyKind.hipMemcpyHostToDevice
TO_HOST = hip.hipMemcpyKind.hipMemcpyDeviceToHost
WITHIN = hip.hipMemcpyKind.hipMemcpyDeviceToDevice


class HipError(Exception):
    """A call failed; the message is hipError_t's (or hiprtcResult's) name."""


class CompileError(HipError):
    """The log of the compiler."""


def check(result: tuple[Any, ...]) -> Any:
    """The values behind a status of success."""
    status, *values = result
    if int(status):
        raise HipError(status.name)
    return values[0] if len(values) == 1 else values


def compiled(source: str, arch: str = "gfx1100", **headers: str) -> bytearray:
    """A code object for the architecture; headers by their names without `.h`."""
    program = check(
        hiprtc.hiprtcCreateProgram(
            source.encode(),
            b"scene.hip",
            len(headers),
            [text.encode() for text in headers.values()],
            [f"{name}.h".encode() for name in headers],
        )
    )
    options = [f"--offload-arch={arch}".encode(), b"-O3"]
    status = hiprtc.hiprtcCompileProgram(program, len(options), options)[0]
    if int(status):
        log = bytearray(check(hiprtc.hiprtcGetProgramLogSize(program)))
        check(hiprtc.hiprtcGetProgramLog(program, log))
        told = log.rstrip(b"\0\n").decode()
        raise CompileError(f"{status.name}: {told}")
    code = bytearray(check(hiprtc.hiprtcGetCodeSize(program)))
    check(hiprtc.hiprtcGetCode(program, code))
    return code


class Gpu:
    """A stream, some pinned memory, and kernels by name."""

    def __init__(self, source: str = "", arch: str = "gfx1100", **headers: str):
        self.stream = check(hip.hipStreamCreateWithFlags(hip.hipStreamNonBlocking))
        self.pinned = int(check(hip.hipHostMalloc(1 << 16, 0)))
        self.module = None
        if source:
            code = compiled(source, arch, **headers)
            self.module = check(hip.hipModuleLoadData(code))

    def malloc(self, size: int = 4096) -> int:
        return int(check(hip.hipMalloc(size)))

    def function(self, name: str) -> Any:
        return check(hip.hipModuleGetFunction(self.module, name.encode()))

    def launch(
        self,
        name: str,
        *arguments: Any,
        blocks: int = 1,
        threads: int = 64,
        shared: int = 0,
        stream: Any = ...,
    ) -> None:
        """Integers are pointers; other arguments are ctypes values."""
        packed = tuple(ctypes.c_void_p(a) if isinstance(a, int) else a for a in arguments)
        on = self.stream if stream is ... else stream
        function = self.function(name)
        check(
            hip.hipModuleLaunchKernel(
                function, blocks, 1, 1, threads, 1, 1, shared, on, None, packed
            )
        )

    def copy(self, to: int, source: int, size: int, kind: Any = TO_DEVICE) -> None:
        check(hip.hipMemcpyAsync(to, source, size, kind, self.stream))

    def write(self, device: int, values: array[Any]) -> None:
        """Through pinned memory, done when this returns."""
        size = values.itemsize * len(values)
        ctypes.memmove(self.pinned, values.buffer_info()[0], size)
        self.copy(device, self.pinned, size)
        self.wait()

    def read(self, device: int, count: int, kind: str = "f") -> list[Any]:
        """Values of the device once all work is done."""
        found = array(kind, bytes(array(kind).itemsize * count))
        self.copy(self.pinned, device, found.itemsize * count, TO_HOST)
        self.wait()
        return self.peek(count, kind)

    def peek(self, count: int, kind: str = "f") -> list[Any]:
        """What lies in pinned memory now."""
        size = array(kind).itemsize * count
        return list(array(kind, ctypes.string_at(self.pinned, size)))

    def wait(self) -> None:
        check(hip.hipStreamSynchronize(self.stream))

    def event(self) -> Any:
        event = check(hip.hipEventCreateWithFlags(hip.hipEventDisableTiming))
        check(hip.hipEventRecord(event, self.stream))
        return event

    def polls(self, event: Any, most: int = 1000) -> int | None:
        """How many queries it took until the event was ready; None if it never was."""
        for asked in range(1, most + 1):
            status = hip.hipEventQuery(event)[0]
            if status is hip.hipError_t.hipSuccess:
                return asked
            if status is not hip.hipError_t.hipErrorNotReady:
                raise HipError(status.name)
        return None

    def capture(self) -> None:
        mode = hip.hipStreamCaptureMode.hipStreamCaptureModeGlobal
        check(hip.hipStreamBeginCapture(self.stream, mode))

    def captured(self) -> Any:
        graph = check(hip.hipStreamEndCapture(self.stream))
        return check(hip.hipGraphInstantiate(graph, 0))[0]
