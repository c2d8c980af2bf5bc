"""Which Vulkan device tests use: a software one unless FORGE_TEST_VULKAN_DEVICE names another.

Without one they skip, with the command that brings it; with FORGE_TEST_VULKAN=required they fail.
The driver is asked by way of its binding alone, so that no error of forge's looks like an absence.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass

import pytest

VALIDATION = "VK_LAYER_KHRONOS_validation"

_INSTALL = {
    "debian": "apt-get install -y mesa-vulkan-drivers libvulkan1 vulkan-validationlayers",
    "fedora": "dnf install -y mesa-vulkan-drivers vulkan-loader vulkan-validation-layers",
    "arch": "pacman -S vulkan-swrast vulkan-icd-loader vulkan-validation-layers",
}
_LOOK = """
import json
import vulkan as vk

layers = [layer.layerName for layer in vk.vkEnumerateInstanceLayerProperties()]
application = vk.VkApplicationInfo(pApplicationName="look", apiVersion=vk.VK_MAKE_VERSION(1, 2, 0))
info = vk.VkInstanceCreateInfo(pApplicationInfo=application)
try:
    instance = vk.vkCreateInstance(info, None)
    handles = vk.vkEnumeratePhysicalDevices(instance)
except (vk.VkErrorIncompatibleDriver, vk.VkErrorInitializationFailed):
    handles = []
software = [
    vk.vkGetPhysicalDeviceProperties(each).deviceType == vk.VK_PHYSICAL_DEVICE_TYPE_CPU
    for each in handles
]
print(json.dumps({"layers": layers, "software": software}))
"""


@dataclass(frozen=True, slots=True)
class Found:
    """What the loader lists; `absent` says what to do where it lists no device at all."""

    absent: str = ""
    software: tuple[bool, ...] = ()
    layers: tuple[str, ...] = ()


@functools.cache
def look() -> Found:
    """Ask the loader, in a process of its own: a driver that hangs or crashes ends there."""
    command = [sys.executable, "-P", "-c", _LOOK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    if "No module named 'vulkan'" in done.stderr:
        return Found(absent="the Vulkan binding is missing: pip install -e '.[vulkan]'")
    if "Cannot find Vulkan SDK" in done.stderr:  # so the binding says that there is no loader
        return Found(absent=f"no Vulkan loader here: {install_command()}")
    if done.returncode:
        raise RuntimeError(f"the Vulkan loader cannot be asked:\n{done.stderr}")
    told = json.loads(done.stdout.splitlines()[-1])
    absent = "" if told["software"] else f"no Vulkan device here: {install_command()}"
    return Found(absent, tuple(told["software"]), tuple(told["layers"]))


def device() -> str:
    """What --device takes for the device that tests use; skips where there is none."""
    found = look()
    if found.absent:
        _without(found.absent)
    if chosen := os.environ.get("FORGE_TEST_VULKAN_DEVICE"):
        return chosen
    return str(found.software.index(True) if True in found.software else 0)


def validating() -> dict[str, str]:
    """An environment in which the validation layer looks at every call, hazards included.

    It writes to the standard output of the process; see `complaints`. Skips where it is missing.
    """
    device()
    if VALIDATION not in look().layers:
        _without(f"the Vulkan validation layer is missing: {install_command()}")
    return {
        "VK_INSTANCE_LAYERS": VALIDATION,
        "VK_LAYER_ENABLES": "VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT",
        "VK_KHRONOS_VALIDATION_VALIDATE_SYNC": "true",  # how layers since 1.3.280 want to hear it
    }


def complaints(output: str) -> list[str]:
    """What the validation layer found, line by line: errors, warnings and hazards."""
    words = ("Validation Error", "Validation Warning", "SYNC-HAZARD")
    return [line for line in output.splitlines() if any(word in line for word in words)]


def install_command() -> str:
    """What brings a software driver, the loader and the validation layer to this system."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    names = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    command = next((_INSTALL[name] for name in names if name in _INSTALL), "")
    if not command:
        return "install Mesa's Vulkan drivers, the Vulkan loader and its validation layer"
    return command if os.geteuid() == 0 else f"sudo {command}"


def _without(reason: str) -> None:
    if os.environ.get("FORGE_TEST_VULKAN") == "required":
        pytest.fail(reason)
    pytest.skip(reason)
