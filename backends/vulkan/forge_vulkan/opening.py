"""Opens the device, and says what was found on the way there."""

from __future__ import annotations

from functools import cached_property

from forge.backend import BackendConfig, BackendUnavailable, Check, Device
from forge_vulkan.binaries import require_shaders
from forge_vulkan.choice import choose
from forge_vulkan.runtime import vk
from forge_vulkan.runtime.device import Gpu
from forge_vulkan.runtime.features import features
from forge_vulkan.runtime.instance import Instance, Listed

_GIB = 2**30
_DRIVER = "mesa-vulkan-drivers for AMD and Intel, NVIDIA's own for NVIDIA"


class Opening:
    """Owns the connection to the loader, and the device that was chosen.

    Raises BackendUnavailable, with advice: no shaders, no loader, no driver, no such device.
    """

    def __init__(self, config: BackendConfig) -> None:
        self._shaders = require_shaders()
        self._instance = Instance()
        try:
            self.listed = self._chosen(config)
            self.gpu = Gpu(self.listed)
        except BaseException:
            self._instance.close()
            raise

    def _chosen(self, config: BackendConfig) -> Listed:
        listed = self._instance.listed
        if not listed:
            seen = ", ".join(_old(one) for one in self._instance.seen) or "no device"
            broken = "".join(f"\n{line}" for line in self._instance.messages.loader)
            raise BackendUnavailable(
                f"the Vulkan driver has {seen}, and forge needs Vulkan 1.2: install a newer one "
                f"({_DRIVER}){broken}"
            )
        return listed[choose(self.devices, config)]

    @cached_property
    def devices(self) -> list[Device]:
        """All that can be opened, the best first."""
        return [one.device for one in self._instance.listed]

    def checks(self) -> list[Check]:
        """For `forge backends`; what is not well is told whenever a model is loaded."""
        device, memory = self.listed.device, self.gpu.memory()
        version = ".".join(map(str, self.listed.version))
        found = [
            Check("driver", True, f"{device.driver}, Vulkan {version}"),
            Check("features", True, str(features(self.listed))),
            Check(
                *("memory", True),
                f"{memory.free / _GIB:.1f} of {memory.total / _GIB:.1f} GiB to be had",
            ),
            Check("shaders", True, f"{self._shaders} of this build"),
        ]
        software = device.kind == "software"
        if software:
            found.append(
                Check(
                    *("hardware", False),
                    f"{device.name} is a CPU in the guise of a GPU, slower than the cpu backend",
                    f"use -b cpu; if there is a GPU, install its Vulkan driver ({_DRIVER})",
                )
            )
        if broken := self._instance.messages.loader:
            # Beside hardware that works it is a leftover; else it may be what is the matter.
            advice = "reinstall that driver, or remove its .json file"
            found.append(Check("other drivers", not software, "; ".join(broken), advice))
        return found

    def close(self) -> None:
        """Give the device back; called once more does nothing."""
        self.gpu.close()
        self._instance.close()


def _old(one: Listed) -> str:
    name = vk.text(one.properties.deviceName)
    return f"{name} (Vulkan {'.'.join(map(str, one.version))})"
