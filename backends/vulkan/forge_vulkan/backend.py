"""A Vulkan device: opened once, for as many graphs as are compiled."""

from __future__ import annotations

from forge.backend import BackendConfig, Check, Device, Memory
from forge_gpu.backend import GpuBackend
from forge_gpu.pacing import Pace
from forge_vulkan.opening import Opening
from forge_vulkan.runtime.kernels import Kernels
from forge_vulkan.runtime.submission import Queue
from forge_vulkan.workshop import Workshop


class VulkanBackend(GpuBackend):
    """Owns the instance, the device, its queue and its pipelines."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self._opening = Opening(config)
        self.gpu = self._opening.gpu
        self._queue = Queue(self.gpu)
        self._kernels = Kernels(self.gpu)
        pace = Pace(self._queue, self.device.kind)
        self._workshop = Workshop(self._kernels, self._queue, pace)
        self._closed = False

    @property
    def kernels(self) -> Kernels:
        """Pipelines of the open device."""
        return self._kernels

    @property
    def workshop(self) -> Workshop:
        """What graphs run with on the open device."""
        return self._workshop

    @property
    def device(self) -> Device:
        """The device that is open."""
        return self._opening.listed.device

    def devices(self) -> list[Device]:
        """All that Vulkan lists here."""
        return self._opening.devices

    def memory(self) -> Memory:
        """Of the largest heap on the device."""
        return self.gpu.memory()

    def checks(self) -> list[Check]:
        """What was found out about the driver and the device."""
        return self._opening.checks()

    def close(self) -> None:
        """Give the device back."""
        if not self._closed:
            self._closed = True
            self._kernels.save()
            self._kernels.close()
            self._queue.close()
            self._opening.close()
