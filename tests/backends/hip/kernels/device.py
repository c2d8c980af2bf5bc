"""A HIP device through hip-python on which tests run single kernels, compiled by its own hiprtc."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from forge.backend import Array
from forge_gpu.features import Features
from forge_gpu.memory import Region
from forge_hip import variants

ALIGNMENT = 256


def check(answer: tuple[Any, ...]) -> Any:
    """What a call of hip-python gives back after its status."""
    status, *values = answer
    assert int(status) == 0, status.name
    return values[0] if len(values) == 1 else values


@functools.cache
def absent() -> str:
    """Why there is no HIP device, and what to do; empty if there is one."""
    try:
        from hip import hip, hiprtc

        hiprtc.hiprtcVersion()
        status, count = hip.hipGetDeviceCount()
    except (ImportError, RuntimeError) as error:
        return f"no HIP driver ({error}): set ROCM_PATH to one, or to the simulated one"
    return "" if int(status) == 0 and count else f"no HIP device: {status.name}"


@dataclass(eq=False)
class Block:
    """Owns memory that the host and the device see at one address."""

    address: int
    mapped: Array


@dataclass(frozen=True)
class Launch:
    """One kernel with its arguments, as `Tape.run` was given them."""

    function: Any
    grid: tuple[int, int, int]
    threads: int
    arguments: bytes


@dataclass
class Device:
    """Compiles and launches for one target, such as gfx1100."""

    arch: str
    options: tuple[str, ...] = ()
    _modules: dict[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def hip(self) -> Any:
        from hip import hip

        return hip

    @functools.cached_property
    def stream(self) -> Any:
        flags = self.hip.hipStreamNonBlocking
        return check(self.hip.hipStreamCreateWithFlags(flags))

    def block(self, size: int) -> Block:
        """Pinned memory: the device reads and writes it where it is."""
        flags = self.hip.hipHostMallocMapped
        address = int(check(self.hip.hipHostMalloc(size, flags)))
        return Block(address, np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address)))

    def free(self, block: Block) -> None:
        block.mapped = np.zeros(0, np.uint8)
        check(self.hip.hipHostFree(block.address))

    def prepare(self, kernel: str, constants: Sequence[int]) -> Any:
        """The function of a kernel with these constants."""
        name = variants.entry(kernel, constants)
        if name not in self._modules:
            module = check(self.hip.hipModuleLoadData(self.compile(kernel, [constants])))
            function = check(self.hip.hipModuleGetFunction(module, name.encode()))
            self._modules[name] = function, module
        return self._modules[name][0]

    def compile(self, kernel: str, sets: Sequence[Sequence[int]]) -> bytes:
        """A code object."""
        from hip import hiprtc

        source = variants.source(kernel, sets)
        text, name = source.text.encode(), f"{source.name}.hip".encode()
        program = check(hiprtc.hiprtcCreateProgram(text, name, 0, [], []))
        asked = (f"--offload-arch={self.arch}", *variants.OPTIONS, *self.options)
        options = [option.encode() for option in asked]
        (status,) = hiprtc.hiprtcCompileProgram(program, len(options), options)
        if int(status):
            log = bytearray(check(hiprtc.hiprtcGetProgramLogSize(program)))
            check(hiprtc.hiprtcGetProgramLog(program, log))
            raise AssertionError(log.decode(errors="replace"))
        code = bytearray(check(hiprtc.hiprtcGetCodeSize(program)))
        check(hiprtc.hiprtcGetCode(program, code))
        return bytes(code)

    def run(self, launches: Sequence[Launch]) -> None:
        """One after the other, and wait for all."""
        for launch in launches:
            size = ctypes.c_size_t(len(launch.arguments))
            buffer = ctypes.create_string_buffer(launch.arguments, size.value)
            extra = (ctypes.c_void_p * 5)(
                *(1, ctypes.addressof(buffer), 2, ctypes.addressof(size), 3)
            )
            threads = launch.threads, 1, 1
            given = (*launch.grid, *threads, 0, self.stream, None, extra)
            check(self.hip.hipModuleLaunchKernel(launch.function, *given))
        check(self.hip.hipStreamSynchronize(self.stream))


class Arenas:
    """Regions of large blocks, as forge_vulkan.runtime.memory has them."""

    def __init__(self, device: Device, size: int) -> None:
        self._device, self._size = device, size
        self._blocks: list[Block] = []
        self._end = 0

    def region(self, size: int) -> Region:
        size = -(-size // ALIGNMENT) * ALIGNMENT
        if not self._blocks or self._end + size > len(self._blocks[-1].mapped):
            self._blocks.append(self._device.block(max(size, self._size)))
            self._end = 0
        start, self._end = self._end, self._end + size
        return Region(self._blocks[-1], start, size)

    def close(self) -> None:
        while self._blocks:
            self._device.free(self._blocks.pop())


class Tape:
    """What steps write kernels to: it has their launches."""

    def __init__(self, device: Device, frame: Region, features: Any, gpu: Any) -> None:
        self.device, self.frame, self.features, self.gpu = device, frame, features, gpu
        self.label = ""
        self.launches: list[Launch] = []

    def run(
        self,
        shader: str,
        bindings: Sequence[Region],
        groups: tuple[int, int, int],
        *,
        writes: Sequence[int],
        push: bytes = b"",
        constants: tuple[int, ...] = (),
        subgroup: int = 0,
        waits: bool = False,
    ) -> None:
        function = self.device.prepare(shader, constants)
        addresses = [each.buffer.address + each.offset for each in bindings]
        arguments = np.array(addresses, np.uint64).tobytes() + push
        self.launches.append(Launch(function, groups, constants[0], arguments))


class Queue:
    """Runs what was recorded."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def run(self, recordings: Sequence[list[Launch]]) -> None:
        for launches in recordings:
            self._device.run(launches)


def features(arch: str) -> Features:
    """What steps ask of a device."""
    return Features(
        subgroup=32,
        subgroup_least=32,
        subgroup_most=32,
        shared_bytes=65536,
        storage_bytes=1 << 40,
        subgroups=True,
        sizes=True,
        dot=True,
        half=True,
        coopmat=arch.startswith(("gfx11", "gfx12")),
    )


def gpu(arch: str) -> Any:
    """As steps look at a device beyond its features."""
    return SimpleNamespace(
        kind="discrete", compute_units=4, group_threads=1024, features=features(arch)
    )
