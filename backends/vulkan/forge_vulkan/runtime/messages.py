"""What the Vulkan loader and the validation layer say, by VK_EXT_debug_utils.

FORGE_VULKAN_VALIDATE=1 has the validation layer look at every call, hazards of synchronisation
included; what it finds is raised as an error by the next call that is checked.
"""

from __future__ import annotations

import os
from typing import Any

import vulkan

from forge_vulkan.runtime import vk

VALIDATE = "FORGE_VULKAN_VALIDATE"
LAYER = "VK_LAYER_KHRONOS_validation"
EXTENSION = "VK_EXT_debug_utils"

_NOISE = (
    "wrong ELF class",  # the loader tries 32-bit drivers as well
    "vkCreateInstance: Found no drivers",  # which its result says
)
_MOST = 16


class Messages:
    """Owns the callback; it has to live as long as the instance that was made with it.

    `loader` are the errors that the loader tells of, such as a driver's library that does not load.
    """

    def __init__(self) -> None:
        self.loader: list[str] = []
        self.validating = os.environ.get(VALIDATE) == "1"
        known = vk.found("vkEnumerateInstanceExtensionProperties", "VkExtensionProperties", vk.NULL)
        names = {vk.text(one.extensionName) for one in known}
        self._structure = self._wanted() if EXTENSION in names else vk.NULL
        self._made: Any = vk.NULL

    @property
    def extensions(self) -> list[str]:
        """What the instance has to be made with."""
        return [EXTENSION] if self._structure != vk.NULL else []

    @property
    def layers(self) -> list[str]:
        """What the instance has to be made with."""
        return [LAYER] if self.validating else []

    def chain(self) -> Any:
        """For the instance's pNext: with it, messages come from the very beginning."""
        if self.validating and self._structure != vk.NULL:
            wanted = [vulkan.VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT]
            self._structure.pNext = self._features = vk.struct(
                "VkValidationFeaturesEXT",
                enabledValidationFeatureCount=1,
                pEnabledValidationFeatures=wanted,
            )
        return self._structure

    def listen(self, instance: Any) -> None:
        """Hear the validation layer; the loader is heard without."""
        if self.validating and self._structure != vk.NULL:
            made = vk.ffi.new("VkDebugUtilsMessengerEXT *")
            function = _function(instance, "vkCreateDebugUtilsMessengerEXT")
            self._structure.pNext = vk.NULL
            vk.check(function(instance, self._structure, vk.NULL, made), "debug messenger")
            self._made = made[0]

    def close(self, instance: Any) -> None:
        """Before the instance is."""
        if self._made != vk.NULL:
            _function(instance, "vkDestroyDebugUtilsMessengerEXT")(instance, self._made, vk.NULL)
            self._made = vk.NULL

    def _wanted(self) -> Any:
        try:
            callback = vk.ffi.callback(
                "VkBool32(VkDebugUtilsMessageSeverityFlagBitsEXT, VkDebugUtilsMessageTypeFlagsEXT,"
                " const VkDebugUtilsMessengerCallbackDataEXT *, void *)",
                self._heard,
            )
        except (MemoryError, SystemError):  # code that is made at run time may not run here
            return vk.NULL
        return vk.struct(
            "VkDebugUtilsMessengerCreateInfoEXT",
            messageSeverity=vulkan.VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
            messageType=vulkan.VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT
            | vulkan.VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
            pfnUserCallback=callback,
        )

    def _heard(self, severity: int, kind: int, data: Any, user: Any) -> int:
        del severity, user
        text = vk.text(data.pMessage)
        about_calls = kind & vulkan.VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT
        into = vk.COMPLAINTS if about_calls else self.loader
        if len(into) < _MOST and text not in into and not any(noise in text for noise in _NOISE):
            into.append(text)
        return 0


def _function(instance: Any, name: str) -> Any:
    address = vk.lib.vkGetInstanceProcAddr(instance, name.encode())
    return vk.ffi.cast(f"PFN_{name}", address)
