"""One open device: its queue, and what of its memory may be taken."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import vulkan

from forge.backend import BackendUnavailable, Memory
from forge_vulkan.runtime import fault, vk
from forge_vulkan.runtime.features import UNIFIED, enabled, features, switched_off
from forge_vulkan.runtime.instance import Listed

_COMPUTE_UNITS = {"discrete": 64, "integrated": 16, "software": 2}
_BUDGET = "VK_EXT_memory_budget"


class Gpu:
    """Owns the logical device and its one queue; memory, kernels and recordings belong to it."""

    def __init__(self, listed: Listed) -> None:
        self.listed = listed
        self.features = features(listed)
        self._shares = UNIFIED not in switched_off()
        self.family = _family(listed)
        chain, extensions = enabled(listed)
        extensions += [name for name in (_BUDGET,) if name in listed.extensions]
        if (tells := fault.feature(listed)) is not None:
            tells.pNext, chain = chain, tells
            extensions.append(fault.EXTENSION)
        queue = vk.struct(
            "VkDeviceQueueCreateInfo",
            queueFamilyIndex=self.family,
            queueCount=1,
            pQueuePriorities=[1.0],
        )
        wanted = vk.struct(
            "VkDeviceCreateInfo",
            pNext=chain,
            queueCreateInfoCount=1,
            pQueueCreateInfos=[queue],
            enabledExtensionCount=len(extensions),
            ppEnabledExtensionNames=[vk.ffi.new("char[]", name.encode()) for name in extensions],
        )
        made = vk.ffi.new("VkDevice *")
        vk.call("vkCreateDevice", listed.handle, wanted, vk.NULL, made)
        self.handle = made[0]
        queues = vk.ffi.new("VkQueue *")
        vk.lib.vkGetDeviceQueue(self.handle, self.family, 0, queues)
        self.queue = queues[0]

    @property
    def kind(self) -> str:
        """Discrete, integrated or software."""
        return self.listed.device.kind

    @cached_property
    def group_threads(self) -> int:
        """The most threads of a work group, all of them in its first dimension."""
        limits = self.listed.limits
        return int(min(limits.maxComputeWorkGroupInvocations, limits.maxComputeWorkGroupSize[0]))

    @cached_property
    def nanoseconds(self) -> float:
        """A tick of the timestamps; 0 where the queue has none."""
        families = _families(self.listed)
        counts = families[self.family].timestampValidBits > 0
        return float(self.listed.limits.timestampPeriod) if counts else 0.0

    @cached_property
    def compute_units(self) -> int:
        """Processors that run work groups side by side; a guess where the driver does not tell."""
        listed = self.listed
        question = "VkPhysicalDeviceProperties2", "vkGetPhysicalDeviceProperties2"
        if "VK_NV_shader_sm_builtins" in listed.extensions:
            nvidia = vk.struct("VkPhysicalDeviceShaderSMBuiltinsPropertiesNV")
            listed.more(*question, nvidia)
            return int(nvidia.shaderSMCount)
        if "VK_AMD_shader_core_properties" in listed.extensions:
            amd = vk.struct("VkPhysicalDeviceShaderCorePropertiesAMD")
            listed.more(*question, amd)
            arrays = amd.shaderEngineCount * amd.shaderArraysPerEngineCount
            return int(arrays * amd.computeUnitsPerShaderArray)
        return _COMPUTE_UNITS.get(listed.device.kind, 16)

    @cached_property
    def kinds(self) -> list[tuple[int, int]]:
        """Flags and heap of each type of memory."""
        found = self._memory().memoryProperties
        return [
            (found.memoryTypes[i].propertyFlags, found.memoryTypes[i].heapIndex)
            for i in range(found.memoryTypeCount)
        ]

    @cached_property
    def unified(self) -> bool:
        """Whether the host can write all of the device's memory: no copies then."""
        both = (
            vulkan.VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | vulkan.VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT
        )
        local = [heap for flags, heap in self.kinds if flags & both == both]
        return self._shares and self.listed.device.kind != "discrete" and bool(local)

    @cached_property
    def allocation_bytes(self) -> int:
        """The most of one allocation, and of one buffer."""
        asked = vk.struct("VkPhysicalDeviceMaintenance3Properties")
        self.listed.more("VkPhysicalDeviceProperties2", "vkGetPhysicalDeviceProperties2", asked)
        return int(asked.maxMemoryAllocationSize)

    def memory(self) -> Memory:
        """Of the largest heap on the device: its size, and what the driver would still give."""
        budget = vk.struct("VkPhysicalDeviceMemoryBudgetPropertiesEXT")
        known = _BUDGET in self.listed.extensions
        found = self._memory(*([budget] if known else [])).memoryProperties
        local = vulkan.VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
        heaps = [
            (found.memoryHeaps[i].size, i)
            for i in range(found.memoryHeapCount)
            if found.memoryHeaps[i].flags & local
        ]
        total, index = max(heaps)
        free = budget.heapBudget[index] - budget.heapUsage[index] if known else total
        return Memory(total, max(0, min(free, total)))

    def _memory(self, *more: Any) -> Any:
        asked = self.listed.more(
            "VkPhysicalDeviceMemoryProperties2", "vkGetPhysicalDeviceMemoryProperties2", *more
        )
        self._last = asked
        return asked

    def lost(self) -> str:
        """What the driver knows of why the device was lost; "" where it does not tell."""
        return fault.report(self.handle)

    def close(self) -> None:
        """Wait for nothing: what is in flight was waited for, or the process ends."""
        if self.handle != vk.NULL:
            vk.lib.vkDestroyDevice(self.handle, vk.NULL)
            self.handle = vk.NULL


def _families(listed: Listed) -> list[Any]:
    return vk.found(
        "vkGetPhysicalDeviceQueueFamilyProperties", "VkQueueFamilyProperties", listed.handle
    )


def _family(listed: Listed) -> int:
    """The first queue family that computes."""
    for index, family in enumerate(_families(listed)):
        if family.queueFlags & vulkan.VK_QUEUE_COMPUTE_BIT:
            return index
    raise BackendUnavailable(f"{listed.device.name} has no queue that computes")
