"""An open device as steps and sizes know it."""

from __future__ import annotations

from dataclasses import dataclass

from forge_gpu.features import Features


@dataclass(frozen=True, slots=True)
class HipGpu:
    """`forge_gpu.device.Gpu`: plain facts."""

    arch: str
    kind: str
    features: Features
    compute_units: int
    allocation_bytes: int
    group_threads: int = 1024
    unified: bool = False
    """Copies within an APU's memory cost little, and none of its memory is pageable then."""
    nanoseconds: float = 1e3
    """Events tell times in microseconds or better."""
