"""The Vulkan driver made to fail, at its edge: what the conformance suite's L3 tries on purpose.

The plugin declares these with the hook forge_faults; a backend that is opened without the option
never sees this module. All but the calls that fail are the real driver's.

fault  what happens, from the phase's step on
hang   the next piece of work waits for a word that nobody writes, so that its fence stalls; not
       for ever, as a device goes on when the process was killed
lost   submitting and waiting give VK_ERROR_DEVICE_LOST
oom    allocating gives VK_ERROR_OUT_OF_DEVICE_MEMORY
error  making a pipeline gives VK_ERROR_UNKNOWN
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import vulkan

from forge_vulkan.runtime import vk
from forge_vulkan.runtime.device import Gpu
from forge_vulkan.runtime.kernels import Kernels
from forge_vulkan.runtime.memory import Buffer
from forge_vulkan.runtime.recording import Commands, Recording

_RESULTS = {
    "lost": {
        "vkQueueSubmit": vulkan.VK_ERROR_DEVICE_LOST,
        "vkWaitForFences": vulkan.VK_ERROR_DEVICE_LOST,
    },
    "oom": {"vkAllocateMemory": vulkan.VK_ERROR_OUT_OF_DEVICE_MEMORY},
    "error": {"vkCreateComputePipelines": vulkan.VK_ERROR_UNKNOWN},
}
_MILLIONS = 100
"""Of reads, one after the other, of the kernel that stalls; a GPU takes 0.5 µs for one."""
_ENDLESS = (65535, 65535, 1)
"""Work groups on llvmpipe, which ends any after 65535 rounds of its loops (lp_bld_limits.h); a
software device ends with its process."""


class Edge:
    """The driver's functions, some of them with another in their place."""

    def __init__(self, real: Any, instead: Mapping[str, Callable[..., int]]) -> None:
        self._real, self._instead = real, instead

    def __getattr__(self, name: str) -> Any:
        return self._instead.get(name) or getattr(self._real, name)


def fail(fault: str, gpu: Gpu) -> None:
    """From now on the driver fails so, for all of this process."""
    real = vk.lib
    if fault == "hang":
        stall = Stall(gpu)

        def submit(queue: Any, count: int, infos: Any, fence: Any) -> int:
            vk.lib = real
            return stall.submit(queue) or int(real.vkQueueSubmit(queue, count, infos, fence))

        vk.lib = Edge(real, {"vkQueueSubmit": submit})
    else:
        results = _RESULTS[fault].items()
        vk.lib = Edge(real, {name: lambda *_, result=result: result for name, result in results})


class Stall:
    """Owns a recorded kernel that keeps a queue busy."""

    def __init__(self, gpu: Gpu) -> None:
        self._kernels = Kernels(gpu)
        self._word = Buffer(gpu, 256)
        self._commands = Commands(gpu)
        recording = Recording(self._commands)
        recording.fill(self._word.whole)
        recording.dispatch(
            self._kernels.get("spin", bindings=1, push=4),
            [self._word.whole],
            _ENDLESS if gpu.listed.device.kind == "software" else (1, 1, 1),
            writes=[0],
            push=struct.pack("I", _MILLIONS),
        )
        self._recorded = recording.end()

    def submit(self, queue: Any) -> int:
        """Whatever is submitted after it waits for it."""
        buffers = vk.ffi.new("VkCommandBuffer[]", [self._recorded])
        info = vk.struct("VkSubmitInfo", commandBufferCount=1, pCommandBuffers=buffers)
        return int(vk.lib.vkQueueSubmit(queue, 1, info, vk.NULL))
