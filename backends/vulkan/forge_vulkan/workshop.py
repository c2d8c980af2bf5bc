"""What Vulkan makes for a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forge.backend import Progress, Weight
from forge_gpu.loading import Loaded
from forge_gpu.pacing import Pace
from forge_gpu.placing import Placement
from forge_gpu.workshop import Use
from forge_vulkan.loading import load
from forge_vulkan.runtime.kernels import Kernels
from forge_vulkan.runtime.memory import Arenas
from forge_vulkan.runtime.profile import Profile
from forge_vulkan.runtime.recording import Commands
from forge_vulkan.runtime.submission import Queue


@dataclass(frozen=True, slots=True)
class Workshop:
    """`forge_gpu.workshop.Workshop` on an open device."""

    kernels: Kernels
    queue: Queue
    pace: Pace

    def commands(self) -> Commands:
        """For recordings."""
        return Commands(self.kernels.gpu)

    def arenas(self, use: Use, step: int = 256 << 20) -> Arenas:
        """Memory in allocations of `step` bytes, of what a region takes, or of what is reserved."""
        return Arenas(self.kernels.gpu, use, step)

    def profile(self) -> Profile:
        """Time stamps."""
        return Profile(self.kernels.gpu)

    def load(
        self, weights: Mapping[str, Weight], placement: Placement, progress: Progress
    ) -> Loaded:
        """Bring all weights to where they are placed."""
        return load(self.kernels, self.queue, weights, placement, progress)
