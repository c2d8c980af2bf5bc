"""Makes the backend in its worker: as it is, or with a driver that fails on purpose."""

from __future__ import annotations

from forge.backend import Backend, BackendConfig, BackendUnavailable
from forge_gpu.faults import OPTION


def open_backend(config: BackendConfig) -> Backend:
    """Open the device; BackendUnavailable with advice where that is not possible."""
    try:
        if OPTION in config.options:
            from forge_vulkan.failing_backend import FailingBackend

            return FailingBackend(config)
        from forge_vulkan.backend import VulkanBackend
    except ImportError as error:
        advice = "pip install --force-reinstall 'forge-llm[vulkan]'"
        raise BackendUnavailable(f"the Vulkan binding is not whole ({error}): {advice}") from error
    return VulkanBackend(config)
