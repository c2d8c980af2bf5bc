"""Recording: dispatches into a command buffer, with a barrier only where data flows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import vulkan

from forge.backend import BackendError
from forge_gpu.flow import Flow, meet
from forge_gpu.memory import Region
from forge_vulkan.runtime import vk
from forge_vulkan.runtime.device import Gpu
from forge_vulkan.runtime.kernels import Kernel
from forge_vulkan.runtime.profile import Profile

_COMPUTE = vulkan.VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT
_TRANSFER = vulkan.VK_PIPELINE_STAGE_TRANSFER_BIT
_HOST = vulkan.VK_PIPELINE_STAGE_HOST_BIT
_ALL = _COMPUTE | _TRANSFER
_SHADER_WRITES = vulkan.VK_ACCESS_SHADER_WRITE_BIT
_WRITES = _SHADER_WRITES | vulkan.VK_ACCESS_TRANSFER_WRITE_BIT
_SHADER_READS = vulkan.VK_ACCESS_SHADER_READ_BIT
_READS = _SHADER_READS | vulkan.VK_ACCESS_TRANSFER_READ_BIT
_SETS = 512
"""Descriptor sets of a pool."""
_BINDINGS = 16
"""Most storage buffers of one kernel."""


@dataclass(slots=True)
class Count:
    """What was recorded, for looking at."""

    dispatches: int = 0
    barriers: int = 0
    names: list[str] = field(default_factory=list)


class Commands:
    """Owns the command pool and the descriptor pools of what belongs together."""

    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        info = vk.struct("VkCommandPoolCreateInfo", queueFamilyIndex=gpu.family)
        made = vk.ffi.new("VkCommandPool *")
        vk.call("vkCreateCommandPool", gpu.handle, info, vk.NULL, made)
        self._pool = made[0]
        self._sets: dict[tuple[Any, ...], Any] = {}
        self._pools: list[Any] = []
        self._left = 0

    def buffer(self) -> Any:
        """A new command buffer, recording."""
        info = vk.struct(
            "VkCommandBufferAllocateInfo", commandPool=self._pool, commandBufferCount=1
        )
        made = vk.ffi.new("VkCommandBuffer *")
        vk.call("vkAllocateCommandBuffers", self.gpu.handle, info, made)
        begin = vk.struct("VkCommandBufferBeginInfo")
        vk.call("vkBeginCommandBuffer", made[0], begin)
        return made[0]

    def recording(self, profile: Profile | None = None, flow: Region | None = None) -> Recording:
        """A new one, perhaps with time stamps, or with counters of so many bytes in place of
        barriers (FLOW_BYTES; what is recorded first sets them to 0)."""
        return Recording(self, profile, Flow(flow) if flow else None)

    def bound(self, kernel: Kernel, bindings: Sequence[Region]) -> Any:
        """The descriptor set of these regions; one that was made before, if there is one."""
        if len(bindings) != kernel.bindings:
            raise BackendError(
                f"{kernel.name} takes {kernel.bindings} buffers, not {len(bindings)}"
            )
        key = kernel.set_layout, *((id(r.buffer), r.offset, r.size) for r in bindings)
        if key not in self._sets:
            self._sets[key] = self._new_set(kernel, bindings)
        return self._sets[key]

    def _new_set(self, kernel: Kernel, bindings: Sequence[Region]) -> Any:
        if not self._left:
            size = vk.struct(
                "VkDescriptorPoolSize",
                type=vulkan.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                descriptorCount=_SETS * _BINDINGS,
            )
            info = vk.struct(
                "VkDescriptorPoolCreateInfo", maxSets=_SETS, poolSizeCount=1, pPoolSizes=size
            )
            made = vk.ffi.new("VkDescriptorPool *")
            vk.call("vkCreateDescriptorPool", self.gpu.handle, info, vk.NULL, made)
            self._pools.append(made[0])
            self._left = _SETS
        self._left -= 1
        info = vk.struct(
            "VkDescriptorSetAllocateInfo",
            descriptorPool=self._pools[-1],
            descriptorSetCount=1,
            pSetLayouts=[kernel.set_layout],
        )
        sets = vk.ffi.new("VkDescriptorSet *")
        vk.call("vkAllocateDescriptorSets", self.gpu.handle, info, sets)
        infos = vk.array(
            "VkDescriptorBufferInfo",
            [
                vk.struct(
                    "VkDescriptorBufferInfo",
                    buffer=region.buffer.handle,
                    offset=region.offset,
                    range=-(-region.size // 4) * 4,
                )
                for region in bindings
            ],
        )
        writes = [
            vk.struct(
                "VkWriteDescriptorSet",
                dstSet=sets[0],
                dstBinding=index,
                descriptorCount=1,
                descriptorType=vulkan.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                pBufferInfo=infos + index,
            )
            for index in range(len(bindings))
        ]
        vk.lib.vkUpdateDescriptorSets(
            self.gpu.handle, len(writes), vk.array("VkWriteDescriptorSet", writes), 0, vk.NULL
        )
        return sets[0]

    def close(self) -> None:
        """Give all of it back; nothing of it may be in flight."""
        for pool in self._pools:
            vk.lib.vkDestroyDescriptorPool(self.gpu.handle, pool, vk.NULL)
        vk.lib.vkDestroyCommandPool(self.gpu.handle, self._pool, vk.NULL)
        self._pools.clear()
        self._sets.clear()


class Recording:
    """Writes one command buffer; knows what was written and read since the last barrier.

    What a later command buffer of the same queue needs is not known to this one: each ends with a
    barrier.
    """

    def __init__(
        self, commands: Commands, profile: Profile | None = None, flow: Flow | None = None
    ) -> None:
        self._commands = commands
        self.handle = commands.buffer()
        self.count = Count()
        self._profile = profile
        self.flow = flow
        self._written: list[Region] = []
        self._read: list[Region] = []
        self._plain: tuple[list[Region], list[Region]] = [], []  # of these, what cannot be awaited
        self._copied = False  # a copy or a fill since the last barrier
        self._unseen = False  # kernels ran before a barrier that was not for copies
        self._pending: list[tuple[Kernel, Sequence[Region], bytes]] = []

    def after_barrier(self, kernel: Kernel, bindings: Sequence[Region], push: bytes) -> None:
        """Run one work group right after the next barrier, and let nothing wait for it.

        With a flow the kernel takes its counters as the last binding and waits for a level.
        """
        self._pending.append((kernel, bindings, push))

    def dispatch(
        self,
        kernel: Kernel,
        bindings: Sequence[Region],
        groups: tuple[int, int, int],
        *,
        writes: Sequence[int],
        push: bytes = b"",
        label: str = "",
        waits: bool = False,
    ) -> None:
        """Run a kernel over so many work groups; `writes` are the bindings that it changes.

        `waits`, for a recording with a flow: it takes the counters as one more binding, and what it
        waits for as AWAITED_BYTES more of constants.
        """
        if 0 in groups:
            return
        changed = [bindings[index] for index in writes]
        reads = [r for i, r in enumerate(bindings) if i not in {*writes}]
        if waits and self.flow:
            self._order_by_waiting(self.flow, changed, reads)
            self.flow.add(math.prod(groups), changed, reads)
            bindings, push = [*bindings, self.flow.region], push + self.flow.awaited()
        else:
            self._order(changed, reads)
            self._plain[0].extend(changed)
            self._plain[1].extend(reads)
        self._bind(kernel, bindings, push)
        if self._profile:
            self._profile.before(self.handle, label, kernel.name)
        vk.lib.vkCmdDispatch(self.handle, *groups)
        if self._profile:
            self._profile.after(self.handle)
        self.count.dispatches += 1
        self.count.names.append(label or kernel.name)

    def _bind(self, kernel: Kernel, bindings: Sequence[Region], push: bytes) -> None:
        lib, handle = vk.lib, self.handle
        lib.vkCmdBindPipeline(handle, vulkan.VK_PIPELINE_BIND_POINT_COMPUTE, kernel.pipeline)
        sets = vk.ffi.new("VkDescriptorSet[]", [self._commands.bound(kernel, bindings)])
        lib.vkCmdBindDescriptorSets(
            handle,
            vulkan.VK_PIPELINE_BIND_POINT_COMPUTE,
            kernel.layout,
            0,
            1,
            sets,
            0,
            vk.NULL,
        )
        if len(push) != kernel.push:
            raise BackendError(f"{kernel.name} takes {kernel.push} bytes of constants")
        if push:
            lib.vkCmdPushConstants(
                handle,
                kernel.layout,
                vulkan.VK_SHADER_STAGE_COMPUTE_BIT,
                0,
                len(push),
                vk.ffi.from_buffer(push),
            )

    def copy(self, source: Region, target: Region) -> None:
        """Copy as many bytes as the source has."""
        self._order([target], [source], copies=True)
        part = vk.struct(
            "VkBufferCopy", srcOffset=source.offset, dstOffset=target.offset, size=source.size
        )
        vk.lib.vkCmdCopyBuffer(self.handle, source.buffer.handle, target.buffer.handle, 1, part)

    def fill(self, target: Region, word: int = 0) -> None:
        """Set every 32-bit word."""
        self._order([target], [], copies=True)
        size = -(-target.size // 4) * 4
        vk.lib.vkCmdFillBuffer(self.handle, target.buffer.handle, target.offset, size, word)

    def end(self) -> Any:
        """The finished command buffer; the host sees what it wrote once its fence is signalled."""
        self._barrier(
            _ALL, _ALL | _HOST, _WRITES, _READS | _WRITES | vulkan.VK_ACCESS_HOST_READ_BIT
        )
        vk.call("vkEndCommandBuffer", self.handle)
        return self.handle

    def _order(
        self, writes: Sequence[Region], reads: Sequence[Region], *, copies: bool = False
    ) -> None:
        """A barrier, if this touches what was written or writes what was read since the last.

        Between kernels it is one for kernels alone: with copies in it, it takes twice as long.
        """
        met = meet(writes, reads, self._written, self._read)
        if met or (copies and self._unseen):
            if copies or self._copied:
                self._barrier(_ALL, _ALL, _WRITES, _READS | _WRITES)
                self._unseen = False
            else:
                self._barrier(_COMPUTE, _COMPUTE, _SHADER_WRITES, _SHADER_READS | _SHADER_WRITES)
                self._unseen = True
            self._copied = False
        self._copied |= copies
        self._written += writes
        self._read += reads

    def _order_by_waiting(
        self, flow: Flow, writes: Sequence[Region], reads: Sequence[Region]
    ) -> None:
        """A new level, if this has to wait for the last one; a barrier, if for something else."""
        full = flow.full and flow.meets(writes, reads)
        plain = meet(writes, [*reads, flow.region], *self._plain)
        if full or plain or self._copied or flow.stale(writes):
            self._barrier(_ALL, _ALL, _WRITES, _READS | _WRITES)
            self._copied = self._unseen = False
        elif flow.meets(writes, reads):
            flow.rise()
            self._flush_pending()
        self._written += writes
        self._read += reads

    def _barrier(self, stages: int, then: int, before: int, after: int) -> None:
        barrier = vk.struct("VkMemoryBarrier", srcAccessMask=before, dstAccessMask=after)
        vk.lib.vkCmdPipelineBarrier(
            self.handle, stages, then, 0, 1, barrier, 0, vk.NULL, 0, vk.NULL
        )
        self.count.barriers += 1
        for seen in (self._written, self._read, *self._plain):
            seen.clear()
        if self.flow:
            self.flow.forget()
        self._flush_pending()

    def _flush_pending(self) -> None:
        for kernel, bindings, push in self._pending:
            if self.flow:
                bindings, push = [*bindings, self.flow.region], push + self.flow.awaited()
            self._bind(kernel, bindings, push)
            vk.lib.vkCmdDispatch(self.handle, 1, 1, 1)
        self._pending.clear()
