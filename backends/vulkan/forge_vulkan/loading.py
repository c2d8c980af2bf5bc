"""Weights onto a Vulkan device, through its staging ring."""

from __future__ import annotations

from collections.abc import Mapping

from forge.backend import Progress, Weight
from forge_gpu import loading
from forge_gpu.loading import Loaded
from forge_gpu.placing import Placement
from forge_vulkan.runtime.kernels import Kernels
from forge_vulkan.runtime.memory import Buffer
from forge_vulkan.runtime.submission import Queue
from forge_vulkan.staging import STEP, Staging


def load(
    kernels: Kernels,
    queue: Queue,
    weights: Mapping[str, Weight],
    placement: Placement,
    progress: Progress,
    *,
    direct: bool | None = None,
    step: int = STEP,
) -> Loaded:
    """As `forge_gpu.loading.load`. `direct` says that kernels read the host's memory as they read
    the device's; by default, where it is the same."""
    gpu = kernels.gpu
    use = "unified" if gpu.unified else "device"
    return loading.load(
        kernels,
        lambda size: Buffer(gpu, size, use),
        lambda size: Staging(gpu, queue, gpu.unified if direct is None else direct, size),
        *(weights, placement, progress),
        step=step,
    )
