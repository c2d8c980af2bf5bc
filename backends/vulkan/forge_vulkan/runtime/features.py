"""What a device can do beyond the core, and what of it is switched off.

Every capability has a plain path behind it: FORGE_VULKAN_WITHOUT=dot,coopmat,… takes that one.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import vulkan

from forge.backend import BackendUnavailable
from forge_gpu.features import NAMES, Features
from forge_vulkan.runtime import vk
from forge_vulkan.runtime.instance import Listed
from forge_vulkan.runtime.messages import VALIDATE

WITHOUT = "FORGE_VULKAN_WITHOUT"
_NVIDIA = 0x10DE
"""Of PCI."""
UNIFIED = "unified"
"""Memory that host and device share; without it everything is copied, as to a card of its own."""


def features(listed: Listed) -> Features:
    """What the device says, less what the environment switches off."""
    off = switched_off()
    subgroup = vk.struct("VkPhysicalDeviceSubgroupProperties")
    sizes = vk.struct("VkPhysicalDeviceSubgroupSizeControlProperties")
    has_sizes = _has(listed, "VK_EXT_subgroup_size_control", (1, 3))
    chain = (subgroup, sizes) if has_sizes else (subgroup,)
    listed.more("VkPhysicalDeviceProperties2", "vkGetPhysicalDeviceProperties2", *chain)
    can = _offered(listed)
    stage = vulkan.VK_SHADER_STAGE_COMPUTE_BIT
    size = subgroup.subgroupSize
    arithmetic = bool(
        subgroup.supportedStages & stage
        and subgroup.supportedOperations & vulkan.VK_SUBGROUP_FEATURE_ARITHMETIC_BIT
    )
    controlled = bool(
        has_sizes
        and can["subgroupSizeControl"]
        and can["computeFullSubgroups"]
        and sizes.requiredSubgroupSizeStages & stage
    )
    limits = listed.limits
    return Features(
        subgroup=size,
        subgroup_least=sizes.minSubgroupSize if controlled else size,
        subgroup_most=sizes.maxSubgroupSize if controlled else size,
        shared_bytes=limits.maxComputeSharedMemorySize,
        storage_bytes=limits.maxStorageBufferRange,
        # Without control a driver may run a kernel in subgroups of another size than it says.
        subgroups=arithmetic and controlled and not off & {"subgroups", "sizes"},
        sizes=controlled and "sizes" not in off,
        dot=can["shaderIntegerDotProduct"] and "dot" not in off,
        half=can["shaderFloat16"] and can["storageBuffer16BitAccess"] and "half" not in off,
        coopmat=can["cooperativeMatrix"]
        and can["shaderFloat16"]
        and can["storageBuffer16BitAccess"]
        and can["vulkanMemoryModel"]
        and controlled
        and _multiplies(listed)
        and not off & {"coopmat", "half", "subgroups", "sizes"},
        counters=True,
        flow=_in_order(listed) and "flow" not in off,
    )


def switched_off() -> frozenset[str]:
    """What the environment says to do without; a name that is none is BackendUnavailable."""
    known = (*NAMES, UNIFIED)
    asked = frozenset(name for name in os.environ.get(WITHOUT, "").split(",") if name)
    if unknown := asked - {*known}:
        raise BackendUnavailable(
            f"{WITHOUT} names {', '.join(sorted(unknown))}; known are {', '.join(known)}"
        )
    return asked


def _in_order(listed: Listed) -> bool:
    """Whether work groups of an earlier kernel are all under way before those of a later one.

    Vulkan promises nothing. It is known of NVIDIA's dispatchers, which begin a grid when the one
    before has no group left to begin, and of Mesa's llvmpipe, which ends each kernel before the
    next. The validation layer knows of barriers only.
    """
    known = listed.properties.vendorID == _NVIDIA or listed.device.kind == "software"
    return known and os.environ.get(VALIDATE) != "1"


def _has(listed: Listed, extension: str, core: tuple[int, int]) -> bool:
    return extension in listed.extensions or listed.version >= core


_QUESTIONS: tuple[tuple[str, str, tuple[int, int], tuple[str, ...]], ...] = (
    (
        "VkPhysicalDeviceSubgroupSizeControlFeatures",
        "VK_EXT_subgroup_size_control",
        (1, 3),
        ("subgroupSizeControl", "computeFullSubgroups"),
    ),
    (
        "VkPhysicalDeviceShaderIntegerDotProductFeatures",
        "VK_KHR_shader_integer_dot_product",
        (1, 3),
        ("shaderIntegerDotProduct",),
    ),
    ("VkPhysicalDeviceShaderFloat16Int8Features", "", (1, 2), ("shaderFloat16", "shaderInt8")),
    ("VkPhysicalDevice16BitStorageFeatures", "", (1, 1), ("storageBuffer16BitAccess",)),
    (
        "VkPhysicalDeviceVulkanMemoryModelFeatures",
        "",
        (1, 2),
        ("vulkanMemoryModel", "vulkanMemoryModelDeviceScope"),
    ),
    (
        "VkPhysicalDeviceCooperativeMatrixFeaturesKHR",
        "VK_KHR_cooperative_matrix",
        (9, 9),
        ("cooperativeMatrix",),
    ),
)


def _structures(listed: Listed) -> list[tuple[Any, tuple[str, ...]]]:
    return [
        (vk.struct(kind), names)
        for kind, extension, core, names in _QUESTIONS
        if _has(listed, extension, core)
    ]


def _offered(listed: Listed) -> dict[str, bool]:
    """Every feature that kernels may use, by its name in the specification."""
    asked = _structures(listed)
    chain = [made for made, _ in asked]
    listed.more("VkPhysicalDeviceFeatures2", "vkGetPhysicalDeviceFeatures2", *chain)
    known = {name: False for *_, names in _QUESTIONS for name in names}
    return known | {name: bool(getattr(made, name)) for made, names in asked for name in names}


def enabled(listed: Listed) -> tuple[Any, list[str]]:
    """The chain of feature structures for a new device, and the extensions they come from."""
    can = _offered(listed)
    structures = _structures(listed)
    for made, names in structures:
        for name in names:
            setattr(made, name, can[name])
    made = [one for one, _ in structures]
    for one, following in pairwise(made):
        one.pNext = following
    extensions = [
        extension
        for _, extension, core, _ in _QUESTIONS
        if extension and listed.version < core and extension in listed.extensions
    ]
    _ENABLED.append(made)
    return made[0], extensions


_ENABLED: list[Any] = []
"""Chains live as long as the process: drivers read them while a device is made, and once is all."""


def _multiplies(listed: Listed) -> bool:
    """Whether it multiplies 16 x 16 x 16 tiles of 16-bit floats into 32-bit sums, in a subgroup."""
    name = b"vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"
    address = vk.lib.vkGetInstanceProcAddr(listed.instance, name)
    if address == vk.NULL:
        return False
    function = vk.ffi.cast("PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR", address)
    count = vk.ffi.new("uint32_t *")
    vk.check(function(listed.handle, count, vk.NULL), "cooperative matrix properties")
    kinds = vk.array(
        "VkCooperativeMatrixPropertiesKHR",
        [vk.struct("VkCooperativeMatrixPropertiesKHR") for _ in range(count[0])],
    )
    vk.check(function(listed.handle, count, kinds), "cooperative matrix properties")
    half, single = vulkan.VK_COMPONENT_TYPE_FLOAT16_KHR, vulkan.VK_COMPONENT_TYPE_FLOAT32_KHR
    return any(
        (k.MSize, k.NSize, k.KSize) == (16, 16, 16)
        and (k.AType, k.BType, k.CType, k.ResultType) == (half, half, single, single)
        and k.scope == vulkan.VK_SCOPE_SUBGROUP_KHR
        for k in (kinds[index] for index in range(count[0]))
    )
