"""Where each weight goes on the device: which share a region, and which are split by rows. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from forge.backend import BackendOutOfMemory, Graph, Op, WeightSpec
from forge_gpu.formats import FORMATS, LINE
from forge_gpu.memory import ALIGNMENT

_TABLES: Mapping[Op, slice] = {
    Op.EMBED: slice(1, 2),
    Op.MATMUL: slice(1, 2),
    Op.EXPERTS: slice(2, 5),
}
"""Inputs of a node that are matrices; all other weights are numbers in a row."""


@dataclass(frozen=True, slots=True)
class Place:
    """Rows [first, first + rows) of a matrix, in a region that begins at `start` of an arena."""

    arena: int
    start: int
    size: int
    first: int
    rows: int
    planes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Placed:
    """A weight [n, k] of `kind`; the names that it has in the graph; its parts."""

    names: tuple[str, ...]
    kind: str
    n: int
    k: int
    experts: int
    vector: bool
    places: tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """All weights in the order in which they are loaded, and the sizes of the arenas in bytes."""

    weights: tuple[Placed, ...]
    arenas: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """What the weights take on the device."""
        return sum(self.arenas)


def matrices_of(graph: Graph) -> frozenset[str]:
    """Weights that are multiplied by, or looked up in."""
    return frozenset(
        name
        for node in graph.nodes
        for name in node.inputs[_TABLES.get(node.op, slice(0, 0))]
        if name in graph.weights
    )


def expert_pairs(graph: Graph) -> list[tuple[str, str]]:
    """Gate and up of mixtures: one kernel reads both, if they lie together."""
    return [(node.inputs[2], node.inputs[3]) for node in graph.nodes if node.op is Op.EXPERTS]


def place(
    specs: Mapping[str, WeightSpec],
    matrices: Iterable[str],
    *,
    binding: int,
    allocation: int,
    together: Sequence[Sequence[str]] = (),
) -> Placement:
    """Place every weight once, whatever names it has.

    `binding` and `allocation` are the most bytes of a binding and of an arena. Matrices that are
    `together` lie in one region, which one binding covers, if they fit.
    """
    known, wanted = frozenset(matrices), {name: group for group in together for name in group}
    same: dict[tuple[object, ...], list[str]] = {}
    for name, spec in specs.items():
        same.setdefault(_identity(spec, name in known), []).append(name)
    first = {name: names[0] for names in same.values() for name in names}
    arenas = _Arenas(min(binding, allocation), allocation)
    done: dict[str, Placed] = {}
    for name in first.values():
        group = tuple(dict.fromkeys(first[other] for other in wanted.get(name, (name,))))
        new = [other for other in group if other not in done]
        shapes = [_shape(specs[other], other in known) for other in new]
        for other, (kind, n, k, experts), places in zip(
            new, shapes, arenas.group(shapes), strict=True
        ):
            names = tuple(same[_identity(specs[other], other in known)])
            done[other] = Placed(names, kind, n, k, experts, other not in known, tuple(places))
    return Placement(tuple(done.values()), arenas.sizes)


def _identity(spec: WeightSpec, matrix: bool) -> tuple[object, ...]:
    return spec.tensor, spec.rows, spec.dtype, matrix


def _shape(spec: WeightSpec, matrix: bool) -> tuple[str, int, int, int]:
    """Its type on the device, rows, columns, and experts."""
    if not matrix:
        return "f32", 1, spec.elements, 1
    *outer, k = spec.shape
    return spec.dtype, math.prod(outer), k, outer[0] if len(outer) == 2 else 1


class _Arenas:
    """Hands out regions, one after another; the next arena is begun when this one is full."""

    def __init__(self, binding: int, allocation: int) -> None:
        self._binding = binding // LINE * LINE
        self._allocation = allocation // ALIGNMENT * ALIGNMENT
        self._sizes: list[int] = []

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(self._sizes)

    def group(self, shapes: Sequence[tuple[str, int, int, int]]) -> list[list[Place]]:
        layouts = [FORMATS[kind].layout(n, k) for kind, n, k, _ in shapes]
        size = sum(layout.size for layout in layouts)
        if size > self._binding and len(shapes) > 1:
            return [places for shape in shapes for places in self.group([shape])]
        if size > self._binding:
            return [self._split(*shapes[0][:3])]
        arena, start = self._region(size)
        places, base = [], 0
        for layout, (_, n, _, _) in zip(layouts, shapes, strict=True):
            planes = tuple(base + at for at in layout.starts)
            places.append([Place(arena, start, size, 0, n, planes)])
            base += layout.size // LINE
        return places

    def _split(self, kind: str, n: int, k: int) -> list[Place]:
        most = FORMATS[kind].most_rows(k, self._binding)
        if most == 0:
            raise BackendOutOfMemory(
                f"a row of {k} weights of type {kind.upper()} is larger than the "
                f"{self._binding} bytes that the device reads as one buffer"
            )
        count = -(-n // most)
        edges = [n * index // count for index in range(count + 1)]
        places = []
        for first, stop in pairwise(edges):
            layout = FORMATS[kind].layout(stop - first, k)
            arena, start = self._region(layout.size)
            places.append(Place(arena, start, layout.size, first, stop - first, layout.starts))
        return places

    def _region(self, size: int) -> tuple[int, int]:
        room = -(-size // ALIGNMENT) * ALIGNMENT
        if room > self._allocation:
            raise BackendOutOfMemory(
                f"{size} bytes are more than the device allocates at once, {self._allocation}"
            )
        if not self._sizes or self._sizes[-1] + room > self._allocation:
            self._sizes.append(0)
        start = self._sizes[-1]
        self._sizes[-1] += room
        return len(self._sizes) - 1, start
