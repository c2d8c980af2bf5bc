"""Weights from the mapped file onto the device."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from forge.backend import Array, BackendHung, BackendLost, Progress, Weight
from forge_gpu.device import Recording, Staging
from forge_gpu.formats import FORMATS, LINE, Format, Plane
from forge_gpu.kernels import Kernels, Wanted
from forge_gpu.matrices import Matrix, Part
from forge_gpu.memory import Buffer, Region
from forge_gpu.placing import Place, Placed, Placement

_THREADS = 256


@dataclass(frozen=True, slots=True)
class Loaded:
    """Owns the weights on the device: matrices, and vectors as float32 without gaps, by name."""

    matrices: Mapping[str, Matrix]
    vectors: Mapping[str, Region]
    _arenas: list[Buffer] = field(default_factory=list[Buffer])

    def close(self) -> None:
        """Give all of it back."""
        for arena in self._arenas:
            arena.close()
        self._arenas.clear()


def load(
    kernels: Kernels,
    arena: Callable[[int], Buffer],
    stage: Callable[[int], Staging],
    weights: Mapping[str, Weight],
    placement: Placement,
    progress: Progress,
    *,
    step: int,
) -> Loaded:
    """Bring all weights to where they are placed; an exception gives all of it back.

    `progress` hears of each weight, and of each `step` bytes of a large one. `arena` allocates so
    many bytes on the device, and `stage` makes what brings up to so many there.
    """
    step = min(step, _useful(placement))
    arenas: list[Buffer] = []
    staging: Staging | None = None
    try:
        arenas.extend(map(arena, placement.arenas))
        staging = stage(step)
        total = len(placement.weights)
        progress("load", 0, total)
        for done, placed in enumerate(placement.weights, 1):
            weight = weights[placed.names[0]]
            sender = _Sender(kernels, staging, arenas, placed)
            for _ in sender.send(weight.dense(np.float32) if placed.vector else weight.raw()):
                progress("load", done - 1, total, placed.names[0])
            weight.release()
            progress("load", done, total, placed.names[0])
        staging.close()
    except (BackendHung, BackendLost):
        raise  # the process ends; what the device may still work on is not freed before
    except BaseException:
        if staging is not None:
            staging.close()
        for held in arenas:
            held.close()
        raise
    matrices: dict[str, Matrix] = {}
    vectors: dict[str, Region] = {}
    for placed in placement.weights:
        for name in placed.names:
            if placed.vector:
                whole = _region(arenas, placed.places[0])
                vectors[name] = whole.part(LINE * placed.places[0].planes[0], 4 * placed.k)
            else:
                matrices[name] = _matrix(arenas, placed)
    return Loaded(matrices, vectors, arenas)


def sorters(placement: Placement) -> list[Wanted]:
    """The kernels that sort these weights' blocks into planes."""
    formats = [FORMATS[weight.kind] for weight in placement.weights if not weight.vector]
    found = {
        _sorter(form, plane): None for form in formats if form.quantised for plane in form.planes
    }
    return list(found)


def _sorter(form: Format, plane: Plane) -> Wanted:
    constants = _THREADS, 1, form.size, plane.offset, plane.size
    return Wanted("planes", bindings=2, push=12, constants=constants, subgroup=0)


def _useful(placement: Placement) -> int:
    """The bytes of the largest weight: a ring need not be larger."""
    sizes = [w.n * FORMATS[w.kind].row_bytes(w.k) for w in placement.weights]
    return max(1 << 16, -(-max(sizes, default=0) // 4096) * 4096)


def _region(arenas: Sequence[Buffer], place: Place) -> Region:
    return Region(arenas[place.arena], place.start, place.size)


def _matrix(arenas: Sequence[Buffer], placed: Placed) -> Matrix:
    parts = tuple(Part(_region(arenas, p), p.first, p.rows, p.planes) for p in placed.places)
    return Matrix(placed.kind, placed.n, placed.k, parts, placed.experts)


class _Sender:
    """Sends one weight, part by part, piece by piece."""

    def __init__(
        self, kernels: Kernels, staging: Staging, arenas: Sequence[Buffer], placed: Placed
    ) -> None:
        self._kernels, self._staging = kernels, staging
        self._arenas, self._placed = arenas, placed
        self._form = FORMATS[placed.kind]

    def send(self, raw: Array) -> Iterator[None]:
        """Yields after each piece but the last of a part."""
        data = np.ascontiguousarray(raw).reshape(-1).view(np.uint8)
        # Four blocks are whole words of every plane.
        unit = math.lcm(4 * self._form.size, 4) if self._form.quantised else 4
        step = max(unit, self._staging.step // unit * unit)
        row = self._form.row_bytes(self._placed.k)
        for place in self._placed.places:
            region = _region(self._arenas, place)
            begin, end = place.first * row, (place.first + place.rows) * row
            for start in range(begin, end, step):
                piece = data[start : min(start + step, end)]
                self._piece(piece, region, place, start - begin)
                if start + step < end:
                    yield

    def _piece(self, piece: Array, region: Region, place: Place, at: int) -> None:
        """`at` is its place in the part, in bytes of the file."""
        form, kernels = self._form, self._kernels

        def copy(recording: Recording, source: Region) -> None:
            target = region.part(LINE * place.planes[0] + at, len(piece))
            recording.copy(source.part(0, len(piece)), target)

        def sort(recording: Recording, source: Region) -> None:
            first, blocks = at // form.size, len(piece) // form.size
            for plane, start in zip(form.planes, place.planes, strict=False):
                words = -(-blocks * plane.size // 4)
                recording.dispatch(
                    kernels.of(_sorter(form, plane)),
                    [source, region],
                    (-(-words // _THREADS), 1, 1),
                    writes=[1],
                    push=struct.pack("3I", 0, 4 * start + first * plane.size // 4, words),
                )

        self._staging.send(piece, sort if form.quantised else copy)
