"""Shaders as pipelines: specialised when they are asked for, and kept on disk by the driver."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import vulkan

from forge.backend import BackendUnavailable, Progress
from forge_gpu import kept, kernels
from forge_gpu.kernels import Wanted
from forge_vulkan.runtime import vk
from forge_vulkan.runtime.device import Gpu

SPIRV = Path(__file__).parent.parent / "spirv"
"""Where the build puts compiled shaders."""
_FULL_SUBGROUPS = 2  # VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT


@dataclass(frozen=True, slots=True)
class Kernel:
    """A pipeline: `bindings` storage buffers, `push` bytes of push constants."""

    name: str
    pipeline: Any
    layout: Any
    set_layout: Any
    bindings: int
    push: int


@dataclass(frozen=True, slots=True)
class _Shape:
    bindings: int
    push: int


class Kernels(kernels.Kernels):
    """Owns the pipelines of a device, and the cache that its driver fills."""

    gpu: Gpu
    _kernels: dict[Wanted, Kernel]

    def __init__(self, gpu: Gpu) -> None:
        super().__init__(gpu)
        self._shapes: dict[_Shape, tuple[Any, Any]] = {}
        self._file = kept.folder("vulkan") / f"{_identity(gpu)}.bin"
        self._cache = self._opened()
        self._saved = 0

    @property
    def folder(self) -> Path:
        """Where the driver's cache is kept."""
        return self._file.parent

    def prepare(self, wanted: Sequence[Wanted], progress: Progress) -> None:
        """Compile what is missing of these; `progress` hears of each."""
        super().prepare(wanted, progress)
        self.save()

    def save(self) -> None:
        """Keep what the driver compiled; a disk that is full or read-only costs the next start."""
        if len(self._kernels) == self._saved:
            return
        self._saved = len(self._kernels)
        size = vk.ffi.new("size_t *")
        vk.call("vkGetPipelineCacheData", self.gpu.handle, self._cache, size, vk.NULL)
        data = vk.ffi.new("char[]", size[0])
        vk.call("vkGetPipelineCacheData", self.gpu.handle, self._cache, size, data)
        with suppress(OSError):
            kept.write(self._file, bytes(vk.ffi.buffer(data, size[0])))

    def close(self) -> None:
        """Give all of it back."""
        for kernel in self._kernels.values():
            vk.lib.vkDestroyPipeline(self.gpu.handle, kernel.pipeline, vk.NULL)
        for layout, set_layout in self._shapes.values():
            vk.lib.vkDestroyPipelineLayout(self.gpu.handle, layout, vk.NULL)
            vk.lib.vkDestroyDescriptorSetLayout(self.gpu.handle, set_layout, vk.NULL)
        vk.lib.vkDestroyPipelineCache(self.gpu.handle, self._cache, vk.NULL)
        self._kernels.clear()
        self._shapes.clear()

    def _opened(self) -> Any:
        """The driver checks whether it is its own; not every one checks that it is whole."""
        before = kept.read(self._file)
        data = vk.ffi.from_buffer(before)
        wanted = vk.struct(
            "VkPipelineCacheCreateInfo", initialDataSize=len(before), pInitialData=data
        )
        made = vk.ffi.new("VkPipelineCache *")
        vk.call("vkCreatePipelineCache", self.gpu.handle, wanted, vk.NULL, made)
        return made[0]

    def _made(self, key: Wanted) -> Kernel:
        shape = _Shape(key.bindings, key.push)
        layout, set_layout = self._layouts(shape)
        module = self._module(key.shader)
        try:
            stage = _stage(module, key.constants, key.subgroup)
            wanted = vk.struct("VkComputePipelineCreateInfo", stage=stage, layout=layout)
            made = vk.ffi.new("VkPipeline *")
            vk.call(
                "vkCreateComputePipelines", self.gpu.handle, self._cache, 1, wanted, vk.NULL, made
            )
        finally:
            vk.lib.vkDestroyShaderModule(self.gpu.handle, module, vk.NULL)
        return Kernel(key.shader, made[0], layout, set_layout, key.bindings, key.push)

    def _module(self, shader: str) -> Any:
        path = SPIRV / f"{shader}.spv"
        try:
            code = path.read_bytes()
        except OSError as error:
            raise BackendUnavailable(
                f"this build of forge has no compiled shader {shader} ({error.strerror}): "
                "install a wheel for this platform, or glslang, and install forge again"
            ) from None
        words = vk.ffi.new("uint32_t[]", len(code) // 4)
        vk.ffi.memmove(words, code, len(code))
        wanted = vk.struct("VkShaderModuleCreateInfo", codeSize=len(code), pCode=words)
        made = vk.ffi.new("VkShaderModule *")
        vk.call("vkCreateShaderModule", self.gpu.handle, wanted, vk.NULL, made)
        return made[0]

    def _layouts(self, shape: _Shape) -> tuple[Any, Any]:
        if shape in self._shapes:
            return self._shapes[shape]
        bindings = [
            vk.struct(
                "VkDescriptorSetLayoutBinding",
                binding=index,
                descriptorType=vulkan.VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                descriptorCount=1,
                stageFlags=vulkan.VK_SHADER_STAGE_COMPUTE_BIT,
            )
            for index in range(shape.bindings)
        ]
        wanted = vk.struct(
            "VkDescriptorSetLayoutCreateInfo", bindingCount=len(bindings), pBindings=bindings
        )
        sets = vk.ffi.new("VkDescriptorSetLayout *")
        vk.call("vkCreateDescriptorSetLayout", self.gpu.handle, wanted, vk.NULL, sets)
        ranges = vk.struct(
            "VkPushConstantRange",
            stageFlags=vulkan.VK_SHADER_STAGE_COMPUTE_BIT,
            size=max(4, shape.push),
        )
        info = vk.struct(
            "VkPipelineLayoutCreateInfo",
            setLayoutCount=1,
            pSetLayouts=[sets[0]],
            pushConstantRangeCount=1 if shape.push else 0,
            pPushConstantRanges=ranges,
        )
        made = vk.ffi.new("VkPipelineLayout *")
        vk.call("vkCreatePipelineLayout", self.gpu.handle, info, vk.NULL, made)
        self._shapes[shape] = made[0], sets[0]
        return self._shapes[shape]


def _stage(module: Any, constants: tuple[int | float, ...], subgroup: int) -> Any:
    """The shader's stage with its constants."""
    more: dict[str, Any] = {}
    if constants:
        words = b"".join(struct.pack("f" if isinstance(c, float) else "i", c) for c in constants)
        data = vk.ffi.new("char[]", words)
        entries = [
            vk.struct("VkSpecializationMapEntry", constantID=i, offset=4 * i, size=4)
            for i in range(len(constants))
        ]
        more["pSpecializationInfo"] = vk.struct(
            "VkSpecializationInfo",
            mapEntryCount=len(entries),
            pMapEntries=entries,
            dataSize=len(words),
            pData=data,
        )
    if subgroup:
        more["flags"] = _FULL_SUBGROUPS
        more["pNext"] = vk.struct(
            "VkPipelineShaderStageRequiredSubgroupSizeCreateInfo", requiredSubgroupSize=subgroup
        )
    return vk.struct(
        "VkPipelineShaderStageCreateInfo",
        stage=vulkan.VK_SHADER_STAGE_COMPUTE_BIT,
        module=module,
        pName="main",
        **more,
    )


def _identity(gpu: Gpu) -> str:
    """Of the device, its driver's version and the shaders: another of them is another file."""
    properties = gpu.listed.properties
    told = f"{gpu.listed.device.driver} {properties.vendorID} {properties.deviceID}"
    told += f" {properties.driverVersion} {bytes(properties.pipelineCacheUUID).hex()}"
    return hashlib.sha256(told.encode()).hexdigest()[:16]
