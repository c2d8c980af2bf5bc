"""The Vulkan backend with a driver that is made to fail."""

from __future__ import annotations

from forge.backend import BackendConfig
from forge_gpu.failing import Failing, Script
from forge_gpu.faults import OPTION
from forge_vulkan.backend import VulkanBackend
from forge_vulkan.failing import fail


class FailingBackend(Failing, VulkanBackend):
    """As the option says."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self._script = Script(config.options[OPTION], lambda fault: fail(fault, self.gpu))

    @property
    def script(self) -> Script:
        """What is to happen, and when."""
        return self._script
