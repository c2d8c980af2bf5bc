"""Makes the backend in its worker: as it is, or with a driver that fails on purpose."""

from __future__ import annotations

from forge.backend import Backend, BackendConfig


def open_backend(config: BackendConfig) -> Backend:
    """Open the device; BackendUnavailable with advice where that is not possible."""
    if "fault" in config.options:
        from forge_vulkan.failing_backend import FailingBackend

        return FailingBackend(config)
    from forge_vulkan.backend import VulkanBackend

    return VulkanBackend(config)
