"""The driver's devices, as it lists them: nothing is opened."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import vulkan

from forge.backend import BackendUnavailable, Device
from forge_vulkan.runtime import vk
from forge_vulkan.runtime.messages import VALIDATE, Messages

_KINDS = {
    vulkan.VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: "discrete",
    vulkan.VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: "integrated",
    vulkan.VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: "discrete",
    vulkan.VK_PHYSICAL_DEVICE_TYPE_CPU: "software",
}
_VERSION = 1 << 22 | 3 << 12
"""Of Vulkan: as much as forge knows of."""
_ABSENT = {
    vulkan.VK_ERROR_INCOMPATIBLE_DRIVER: (
        "the Vulkan loader found no driver: install your GPU's (mesa-vulkan-drivers for AMD and "
        "Intel, NVIDIA's own); `forge doctor` looks at what is there"
    ),
    vulkan.VK_ERROR_LAYER_NOT_PRESENT: (
        f"{VALIDATE} asks for the validation layer, which is not here: "
        "apt-get install vulkan-validationlayers"
    ),
}
_PREFERRED = ("discrete", "integrated", "software")


class Instance:
    """Owns the connection to the loader and its drivers; `messages` are what they complain of."""

    def __init__(self) -> None:
        self.messages = Messages()
        layers, extensions = self.messages.layers, self.messages.extensions
        application = vk.struct("VkApplicationInfo", pApplicationName="forge", apiVersion=_VERSION)
        wanted = vk.struct(
            "VkInstanceCreateInfo",
            pNext=self.messages.chain(),
            pApplicationInfo=application,
            enabledLayerCount=len(layers),
            ppEnabledLayerNames=layers,
            enabledExtensionCount=len(extensions),
            ppEnabledExtensionNames=extensions,
        )
        made = vk.ffi.new("VkInstance *")
        result = vk.lib.vkCreateInstance(wanted, vk.NULL, made)
        if result in _ABSENT:
            raise BackendUnavailable("\n".join([_ABSENT[result], *self.messages.loader]))
        vk.check(result, "vkCreateInstance")
        self.handle = made[0]
        self.messages.listen(self.handle)

    @cached_property
    def seen(self) -> list[Listed]:
        """Every device, in the driver's order."""
        handles = vk.found("vkEnumeratePhysicalDevices", "VkPhysicalDevice", self.handle)
        return [Listed(self.handle, handle, index) for index, handle in enumerate(handles)]

    @cached_property
    def listed(self) -> list[Listed]:
        """Devices that forge can use, the best kind first, else in the driver's order."""
        usable = [one for one in self.seen if one.usable]
        return sorted(usable, key=lambda one: _PREFERRED.index(one.device.kind))

    def close(self) -> None:
        """Give it back; called once more does nothing."""
        if self.handle != vk.NULL:
            self.messages.close(self.handle)
            vk.lib.vkDestroyInstance(self.handle, vk.NULL)
            self.handle = vk.NULL
            vk.check(vulkan.VK_SUCCESS, "vkDestroyInstance")


@dataclass(frozen=True)
class Listed:
    """A physical device, and what it says of itself."""

    instance: Any
    handle: Any
    index: int

    @cached_property
    def extensions(self) -> frozenset[str]:
        """Names of what it offers beside the core."""
        listed = vk.found(
            "vkEnumerateDeviceExtensionProperties",
            "VkExtensionProperties",
            self.handle,
            vk.NULL,
        )
        return frozenset(vk.text(one.extensionName) for one in listed)

    @cached_property
    def _plain(self) -> Any:
        return self.more("VkPhysicalDeviceProperties2", "vkGetPhysicalDeviceProperties2")

    @property
    def properties(self) -> Any:
        """VkPhysicalDeviceProperties: a view of a structure that is kept."""
        return self._plain.properties

    @property
    def limits(self) -> Any:
        """VkPhysicalDeviceLimits."""
        return self.properties.limits

    @property
    def version(self) -> tuple[int, int]:
        """Of Vulkan, as far as the device speaks it."""
        number = self.properties.apiVersion
        return number >> 22 & 0x7F, number >> 12 & 0x3FF

    @property
    def usable(self) -> bool:
        """Vulkan 1.2 with a queue that computes, and no kind that nobody knows."""
        return self.version >= (1, 2) and self.properties.deviceType in _KINDS

    def more(self, kind: str, function: str, *structures: Any) -> Any:
        """Ask for properties or features with further structures chained to the question."""
        for one, following in pairwise(structures):
            one.pNext = following
        chained = {"pNext": structures[0]} if structures else {}
        asked = vk.struct(kind, **chained)
        getattr(vk.lib, function)(self.handle, asked)
        return asked

    @cached_property
    def device(self) -> Device:
        """What forge calls it."""
        properties = self.properties
        driver = vk.struct("VkPhysicalDeviceDriverProperties")
        address = vk.struct("VkPhysicalDevicePCIBusInfoPropertiesEXT")
        on_pci = "VK_EXT_pci_bus_info" in self.extensions
        asked = (driver, address) if on_pci else (driver,)
        self.more("VkPhysicalDeviceProperties2", "vkGetPhysicalDeviceProperties2", *asked)
        name = f"{vk.text(driver.driverName)} {vk.text(driver.driverInfo)}".strip()
        where = (
            f"{address.pciDomain:04x}:{address.pciBus:02x}:"
            f"{address.pciDevice:02x}.{address.pciFunction:x}"
            if on_pci
            else ""
        )
        return Device(
            vk.text(properties.deviceName),
            _KINDS[properties.deviceType],
            str(self.index),
            name,
            where,
        )
