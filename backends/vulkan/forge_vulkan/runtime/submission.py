"""Submitting recorded work, and waiting for it in slices that all have an end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import vulkan

from forge.backend import BackendHung, BackendLost
from forge_gpu.device import nowhere
from forge_vulkan.runtime import vk
from forge_vulkan.runtime.device import Gpu

_SLICE_NS = 20_000_000
_LIMIT_S = 10.0
"""After which a submission counts as stuck: AMD's kernel driver gives a compute ring 10 s."""
_SOFTWARE_S = 60.0
"""No kernel driver watches a software device, which shares its cores with everything else."""

_QUIET_S = 0.25
"""Of waiting, before the log is told about it; then again after twice as long."""


class Queue:
    """Owns the fences; work is finished in the order in which it was submitted."""

    def __init__(self, gpu: Gpu, limit: float | None = None) -> None:
        software = gpu.listed.device.kind == "software"
        self._gpu, self.limit = gpu, limit or (_SOFTWARE_S if software else _LIMIT_S)
        self._free: list[Any] = []
        self._all: list[Any] = []
        self.where: Callable[[], str] = nowhere
        """Asked for the last finished piece of work when the device is stuck."""

    def submit(self, buffers: Sequence[Any]) -> Any:
        """Hand over command buffers; the fence says when all of them are done."""
        fence = self._free.pop() if self._free else self._new_fence()
        handles = vk.ffi.new("VkCommandBuffer[]", list(buffers))
        info = vk.struct("VkSubmitInfo", commandBufferCount=len(buffers), pCommandBuffers=handles)
        with self._told():
            vk.call("vkQueueSubmit", self._gpu.queue, 1, info, fence)
        return fence

    def wait(self, fence: Any) -> None:
        """Until the fence is signalled; BackendHung past the limit, BackendLost from the driver."""
        fences = vk.ffi.new("VkFence[]", [fence])
        start = time.monotonic()
        patience = _QUIET_S
        while True:
            result = vk.lib.vkWaitForFences(self._gpu.handle, 1, fences, 1, _SLICE_NS)
            with self._told():
                vk.check(result, "vkWaitForFences")
            if result == vulkan.VK_SUCCESS:
                break
            waited = time.monotonic() - start
            if waited > self.limit:
                raise BackendHung(
                    f"{self._gpu.listed.device.name} did not finish a piece of work in "
                    f"{waited:.1f} s{self._place()}"
                )
            if waited > patience:
                # The host may kill this process before the limit; it keeps the log's end.
                sys.stderr.write(f"waiting for the device for {waited:.1f} s{self._place()}\n")
                sys.stderr.flush()
                patience *= 2
        vk.call("vkResetFences", self._gpu.handle, 1, fences)
        self._free.append(fence)

    def run(self, buffers: Sequence[Any]) -> float:
        """Submit and wait; the seconds that it took."""
        start = time.perf_counter()
        self.wait(self.submit(buffers))
        return time.perf_counter() - start

    @contextmanager
    def _told(self) -> Iterator[None]:
        """A loss comes with what the driver and the progress marks know of it."""
        try:
            yield
        except BackendLost as error:
            why = self._gpu.lost()
            raise BackendLost(f"{error}{self._place()}{'; ' if why else ''}{why}") from None

    def _place(self) -> str:
        place = self.where()
        return f"; the last that it began: {place}" if place else ""

    def _new_fence(self) -> Any:
        made = vk.ffi.new("VkFence *")
        vk.call("vkCreateFence", self._gpu.handle, vk.struct("VkFenceCreateInfo"), vk.NULL, made)
        self._all.append(made[0])
        return made[0]

    def close(self) -> None:
        """Give the fences back."""
        for fence in self._all:
            vk.lib.vkDestroyFence(self._gpu.handle, fence, vk.NULL)
        self._all.clear()
        self._free.clear()
