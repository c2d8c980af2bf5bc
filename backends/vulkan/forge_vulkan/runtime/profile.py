"""Time stamps around recorded kernels."""

from __future__ import annotations

from typing import Any

import vulkan

from forge_vulkan.runtime import vk
from forge_vulkan.runtime.device import Gpu


class Profile:
    """Owns timestamps around dispatches: how long each took, by its label."""

    def __init__(self, gpu: Gpu, most: int = 8192) -> None:
        self.gpu, self._most = gpu, most
        info = vk.struct(
            "VkQueryPoolCreateInfo", queryType=vulkan.VK_QUERY_TYPE_TIMESTAMP, queryCount=most
        )
        made = vk.ffi.new("VkQueryPool *")
        vk.call("vkCreateQueryPool", gpu.handle, info, vk.NULL, made)
        self._pool = made[0]
        self._labels: list[tuple[str, str]] = []

    def before(self, handle: Any, label: str, kernel: str) -> None:
        """Note that a dispatch begins."""
        self._stamp(handle, 2 * len(self._labels), vulkan.VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT)
        self._labels.append((label, kernel))

    def after(self, handle: Any) -> None:
        """Note that it ended."""
        last = 2 * len(self._labels) - 1
        self._stamp(handle, last, vulkan.VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT)

    def _stamp(self, handle: Any, index: int, stage: int) -> None:
        if index < self._most:
            vk.lib.vkCmdResetQueryPool(handle, self._pool, index, 1)
            vk.lib.vkCmdWriteTimestamp(handle, stage, self._pool, index)

    def read(self) -> list[tuple[str, str, float, float]]:
        """Label, kernel, begin and end of each dispatch in seconds; once its fence is signalled."""
        count = min(2 * len(self._labels), self._most)
        ticks = vk.ffi.new("uint64_t[]", max(1, count))
        flags = vulkan.VK_QUERY_RESULT_64_BIT
        if count:
            vk.call(
                *("vkGetQueryPoolResults", self.gpu.handle, self._pool, 0, count),
                *(8 * count, ticks, 8, flags),
            )
        second = 1e9 / (self.gpu.nanoseconds or 1.0)
        pairs = zip(self._labels, range(0, count, 2), strict=False)
        return [(*label, ticks[i] / second, ticks[i + 1] / second) for label, i in pairs]

    def close(self) -> None:
        """Give it back."""
        vk.lib.vkDestroyQueryPool(self.gpu.handle, self._pool, vk.NULL)
