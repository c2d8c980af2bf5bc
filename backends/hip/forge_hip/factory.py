"""Makes the backend in its worker: as it is, or with a driver that fails on purpose."""

from __future__ import annotations

from forge.backend import Backend, BackendConfig, BackendUnavailable
from forge_gpu.faults import OPTION


def open_backend(config: BackendConfig) -> Backend:
    """Open the device; BackendUnavailable with advice where that is not possible."""
    try:
        if OPTION in config.options:
            from forge_hip.failing import FailingBackend

            return FailingBackend(config)
        from forge_hip.backend import HipBackend
    except ImportError as error:
        advice = "pip install --force-reinstall 'forge-llm[hip]'"
        raise BackendUnavailable(f"the HIP binding is not whole ({error}): {advice}") from error
    return HipBackend(config)
