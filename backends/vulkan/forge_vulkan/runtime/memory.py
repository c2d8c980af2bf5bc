"""Device memory: a few large allocations, and regions of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import vulkan

from forge.backend import Array, BackendOutOfMemory
from forge_gpu.memory import ALIGNMENT, Region
from forge_vulkan.runtime import vk
from forge_vulkan.runtime.device import Gpu

_LOCAL = vulkan.VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
_VISIBLE = vulkan.VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | vulkan.VK_MEMORY_PROPERTY_HOST_COHERENT_BIT
_CACHED = vulkan.VK_MEMORY_PROPERTY_HOST_CACHED_BIT
_USES = (
    vulkan.VK_BUFFER_USAGE_STORAGE_BUFFER_BIT
    | vulkan.VK_BUFFER_USAGE_TRANSFER_SRC_BIT
    | vulkan.VK_BUFFER_USAGE_TRANSFER_DST_BIT
)
_WANTED = {
    "device": ((_LOCAL,), (0,)),
    "unified": ((_LOCAL | _VISIBLE,), (_VISIBLE,)),
    "upload": ((_VISIBLE,),),
    "download": ((_VISIBLE | _CACHED,), (_VISIBLE,)),
}
"""Properties of memory by what it is for, the best first."""


class Buffer:
    """Owns one allocation and the buffer over all of it."""

    def __init__(self, gpu: Gpu, size: int, use: str = "device") -> None:
        self.gpu, self.size = gpu, size
        self._memory = vk.NULL
        wanted = vk.struct("VkBufferCreateInfo", size=max(4, size), usage=_USES)
        made = vk.ffi.new("VkBuffer *")
        vk.call("vkCreateBuffer", gpu.handle, wanted, vk.NULL, made)
        self.handle = made[0]
        try:
            self._memory = self._allocated(use)
            vk.call("vkBindBufferMemory", gpu.handle, self.handle, self._memory, 0)
            self.mapped = self._mapped() if use != "device" else np.zeros(0, np.uint8)
        except BaseException:
            self.close()
            raise

    @property
    def whole(self) -> Region:
        """All of it."""
        return Region(self, 0, self.size)

    def close(self) -> None:
        """Give it back; called once more does nothing."""
        if self.handle != vk.NULL:
            self.mapped = np.zeros(0, np.uint8)
            vk.lib.vkDestroyBuffer(self.gpu.handle, self.handle, vk.NULL)
            vk.lib.vkFreeMemory(self.gpu.handle, self._memory, vk.NULL)
            self.handle = self._memory = vk.NULL

    def _allocated(self, use: str) -> Any:
        needs = vk.ffi.new("VkMemoryRequirements *")
        vk.lib.vkGetBufferMemoryRequirements(self.gpu.handle, self.handle, needs)
        made = vk.ffi.new("VkDeviceMemory *")
        wrong: BackendOutOfMemory | None = None
        for kind in self._kinds(use, needs.memoryTypeBits):
            wanted = vk.struct(
                "VkMemoryAllocateInfo", allocationSize=needs.size, memoryTypeIndex=kind
            )
            try:
                vk.call("vkAllocateMemory", self.gpu.handle, wanted, vk.NULL, made)
            except BackendOutOfMemory as error:
                wrong = error
            else:
                return made[0]
        raise BackendOutOfMemory(
            f"{self.gpu.listed.device.name} has no room for {self.size / 2**20:.0f} MiB more"
        ) from wrong

    def _kinds(self, use: str, allowed: int) -> list[int]:
        """Types of memory to try; host memory is no substitute for a device's own."""
        for flags in (flags for choice in _WANTED[use] for flags in choice):
            fitting = [
                index
                for index, (has, _) in enumerate(self.gpu.kinds)
                if allowed >> index & 1 and has & flags == flags
            ]
            if fitting:
                return fitting[:1]
        return []

    def _mapped(self) -> Array:
        where = vk.ffi.new("void **")
        vk.call("vkMapMemory", self.gpu.handle, self._memory, 0, self.size, 0, where)
        view = vk.ffi.buffer(where[0], self.size)
        return np.frombuffer(view, np.uint8)


class Arenas:
    """Owns buffers of one use, and hands out regions of them until all is given back at once."""

    def __init__(self, gpu: Gpu, use: str = "device", step: int = 256 << 20) -> None:
        self.gpu = gpu
        self._use = "unified" if use == "device" and gpu.unified else use
        self._step = min(step, gpu.allocation_bytes)
        self._buffers: list[Buffer] = []
        self._left = 0

    def region(self, size: int) -> Region:
        """New bytes, of unknown contents."""
        room = -(-max(4, size) // ALIGNMENT) * ALIGNMENT
        if room > self._left:
            self.reserve(max(room, self._step))
        last = self._buffers[-1]
        made = Region(last, last.size - self._left, size)
        self._left -= room
        return made

    def reserve(self, size: int) -> None:
        """One allocation for what is known to come; what was left of the last one is lost."""
        most = self.gpu.allocation_bytes // ALIGNMENT * ALIGNMENT
        size = min(-(-size // ALIGNMENT) * ALIGNMENT, most)
        self._buffers.append(Buffer(self.gpu, size, self._use))
        self._left = size

    @property
    def mapped(self) -> bool:
        """Whether the host sees it."""
        return self._use != "device"

    def close(self) -> None:
        """Give all of it back."""
        for buffer in self._buffers:
            buffer.close()
        self._buffers.clear()
        self._left = 0
