"""What makes, on one device, all that a graph runs with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Protocol

from forge.backend import Progress, Weight
from forge_gpu.device import Commands, Profile, Queue
from forge_gpu.loading import Loaded
from forge_gpu.memory import Arenas
from forge_gpu.pacing import Pace
from forge_gpu.placing import Placement

Use = Literal["device", "upload", "download"]
"""Memory that kernels work in; that the host writes; that it reads."""


class Workshop(Protocol):
    """Whoever asks for something owns it."""

    @property
    def queue(self) -> Queue:
        """Where everything runs."""

    @property
    def pace(self) -> Pace:
        """How much of it at a time."""

    def commands(self) -> Commands:
        """For recordings."""

    def arenas(self, use: Use, step: int = 256 << 20) -> Arenas:
        """Memory in allocations of `step` bytes, of what a region takes, or of what is reserved."""

    def profile(self) -> Profile:
        """Time stamps."""

    def load(
        self, weights: Mapping[str, Weight], placement: Placement, progress: Progress
    ) -> Loaded:
        """Bring all weights to where they are placed; an exception gives all of it back."""
