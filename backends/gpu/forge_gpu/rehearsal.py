"""A recording that records nothing: which kernels a graph needs, before it is loaded."""

from __future__ import annotations

from typing import Any

import numpy as np

from forge.backend import Array
from forge_gpu.flow import Flow
from forge_gpu.kernels import Kernels, Wanted
from forge_gpu.matrices import Matrix, Part
from forge_gpu.memory import Region
from forge_gpu.placing import Placed
from forge_gpu.recordings import Recordings
from forge_gpu.sizes import Sizes
from forge_gpu.workplace import Workplace

_SEEN = 1 << 16
"""Bytes that the host can write of a region that is nowhere."""


def wanted(sizes: Sizes, kernels: Kernels) -> list[Wanted]:
    """The kernels that recording a graph asks for, in its order."""
    device = Nowhere(mapped=kernels.gpu.unified)
    place = Workplace(sizes, device, Nowhere(mapped=True), Nowhere(mapped=True))
    regions: dict[tuple[int, int], Region] = {}
    matrices = {
        name: _matrix(placed, regions)
        for placed in sizes.placement.weights
        if not placed.vector
        for name in placed.names
    }
    vectors = {
        name: _region(4 * placed.k)
        for placed in sizes.placement.weights
        if placed.vector
        for name in placed.names
    }
    with kernels.collecting() as found:
        Recordings(kernels, _Silent(), place, matrices, vectors)
    return found


class Nowhere:
    """Hands out regions without memory."""

    def __init__(self, *, mapped: bool) -> None:
        self.mapped = mapped

    def region(self, size: int) -> Region:
        """One of a buffer of its own."""
        return _region(size)


class _NoBuffer:
    """A buffer's size."""

    handle: Any = None

    def __init__(self, size: int) -> None:
        self.size = size
        self.mapped: Array = np.zeros(min(size, _SEEN), np.uint8)

    def close(self) -> None:
        """There is nothing."""


class _Silent:
    """Makes recordings that keep nothing."""

    def recording(self, profile: Any = None, flow: Region | None = None) -> _Nothing:
        """One that keeps nothing."""
        del profile
        return _Nothing(Flow(flow) if flow else None)

    def close(self) -> None:
        """There is nothing."""


class _Nothing:
    def __init__(self, flow: Flow | None) -> None:
        self.flow = flow

    def dispatch(self, *given: Any, **named: Any) -> None:
        del given, named

    def after_barrier(self, *given: Any) -> None:
        del given

    def copy(self, source: Region, target: Region) -> None:
        del source, target

    def fill(self, target: Region, word: int = 0) -> None:
        del target, word

    def end(self) -> Any:
        return None


def _region(size: int) -> Region:
    return Region(_NoBuffer(size), 0, size)


def _matrix(placed: Placed, regions: dict[tuple[int, int], Region]) -> Matrix:
    """Parts that lie side by side are of one region, as they are once they are loaded."""
    parts = tuple(
        Part(regions.setdefault((p.arena, p.start), _region(p.size)), p.first, p.rows, p.planes)
        for p in placed.places
    )
    return Matrix(placed.kind, placed.n, placed.k, parts, placed.experts)
