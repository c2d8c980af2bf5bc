"""What HIP makes for a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forge.backend import Progress, Weight
from forge_gpu import loading
from forge_gpu.loading import Loaded
from forge_gpu.pacing import Pace
from forge_gpu.placing import Placement
from forge_gpu.workshop import Use
from forge_hip.functions import Kernels
from forge_hip.memory import Arenas, taken
from forge_hip.profile import Profile
from forge_hip.queue import Queue
from forge_hip.recording import Commands
from forge_hip.runtime.pool import Pool
from forge_hip.runtime.stream import Stream
from forge_hip.staging import Staging


@dataclass(frozen=True, slots=True)
class Workshop:
    """`forge_gpu.workshop.Workshop` on an open device; `graphs` says that capture works there."""

    kernels: Kernels
    queue: Queue
    pace: Pace
    stream: Stream
    pool: Pool
    graphs: bool

    def commands(self) -> Commands:
        """For recordings."""
        return Commands(self.stream, graphs=self.graphs)

    def arenas(self, use: Use, step: int = 256 << 20) -> Arenas:
        """Memory in allocations of `step` bytes, of what a region takes, or of what is reserved."""
        return Arenas(self.pool, use, step)

    def profile(self) -> Profile:
        """Time stamps."""
        return Profile(self.stream)

    def load(
        self, weights: Mapping[str, Weight], placement: Placement, progress: Progress
    ) -> Loaded:
        """Bring all weights to where they are placed."""
        self.kernels.prepare(loading.sorters(placement), progress)
        return loading.load(
            self.kernels,
            lambda size: taken(self.pool, size),
            lambda step: Staging(self.stream, self.pool, step),
            *(weights, placement, progress),
            step=self.stream.ring.step,
        )
