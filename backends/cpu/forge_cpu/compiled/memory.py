"""All that a graph's programs work on: activations, caches, quantised lines, tables."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

import numpy as np

from forge.backend import Array, BackendUnsupported, Graph, StateSpec, TensorSpec, Value
from forge.graph import TOKENS
from forge_cpu.compiled.buffers import buffers
from forge_cpu.compiled.frame import Inputs
from forge_cpu.compiled.fusion import Step, steps
from forge_cpu.kv import Attention, KvCache, KvLayout, lazy_bytes
from forge_cpu.packing import Packed, lines_for

_Room = TypeVar("_Room")


class Memory:
    """Owns it, and the weights; a name is a value of the graph."""

    def __init__(
        self, graph: Graph, weights: Mapping[str, Packed | Array], threads: int, chunk: int
    ) -> None:
        self.weights = dict(weights)
        self.inputs = Inputs(chunk)
        self.steps: list[Step] = steps(graph)
        self.chunk, self._threads = chunk, threads
        self._specs: dict[str, Value] = graph.validate()
        shapes = {step.out: (chunk, self.width(step.out)) for step in self.steps}
        self.values = buffers(self.steps, shapes, graph.outputs)
        for name in graph.inputs:
            if name not in self.inputs:
                size = chunk * self.width(name)
                self.values[name] = lazy_bytes(4 * size).view(np.float32).reshape(chunk, -1)
        self._lines: dict[int, Array] = {}
        self._angles: dict[object, Array] = {}
        self._caches: dict[str, KvCache] = {}
        self._work: dict[tuple[int, KvLayout], tuple[Array, Array]] = {}
        self._rooms: dict[Hashable, Any] = {}

    def _activation(self, name: str) -> TensorSpec:
        spec = self._specs[name]
        if not isinstance(spec, TensorSpec):
            raise BackendUnsupported(f"{name} is {spec}, not an activation")
        return spec

    def width(self, name: str) -> int:
        """Columns of an activation."""
        return int(self._activation(name).shape[-1])

    def counter(self, name: str) -> Array:
        """Where kernels find how many rows an activation has in this run."""
        whole = self._activation(name).shape[0] == TOKENS
        return self.inputs.tokens if whole else self.inputs.rows

    def vector(self, name: str) -> Array:
        """A weight of one row."""
        found = self.weights[name]
        if isinstance(found, Packed):
            raise BackendUnsupported(f"{name} is a matrix where a vector is read")
        return found

    def operand(self, name: str) -> Array:
        """An activation, or a weight of one row."""
        return self.vector(name) if name in self.weights else self.values[name]

    def matrix(self, name: str) -> Packed:
        """A weight of more rows."""
        found = self.weights[name]
        if not isinstance(found, Packed):
            raise BackendUnsupported(f"{name} is a vector where a matrix is read")
        return found

    def lines(self, width: int) -> Array:
        """Room for activations as int8 in blocks."""
        if width not in self._lines:
            self._lines[width] = lines_for(self.chunk, width)
        return self._lines[width]

    def angles(self, frequencies: tuple[float, ...], magnitude: float) -> Array:
        """Room for the cosines and sines of each token."""
        key = frequencies, magnitude
        if key not in self._angles:
            self._angles[key] = np.zeros((self.chunk, 2, len(frequencies)), np.float32)
        return self._angles[key]

    def room(self, key: Hashable, make: Callable[[], _Room]) -> _Room:
        """Memory of a node's own, which nodes of one shape share."""
        if key not in self._rooms:
            self._rooms[key] = make()
        found: _Room = self._rooms[key]
        return found

    def attention(
        self, keys: str, values: str, heads: int
    ) -> tuple[Attention, KvCache, tuple[Array, Array]]:
        """The node's sizes, its cache, and room to work in, which nodes of one shape share."""
        k, v = self._specs[keys], self._specs[values]
        if not (isinstance(k, StateSpec) and isinstance(v, StateSpec)):
            raise BackendUnsupported(f"{keys} and {values} are no state")
        layout = KvLayout(k.dtype, k.slots, k.heads, k.capacity, k.size, v.size)
        node = Attention(heads, layout)
        if keys not in self._caches:
            self._caches[keys] = KvCache(layout)
        if (heads, layout) not in self._work:
            self._work[heads, layout] = node.scratch(self._threads), node.partials()
        return node, self._caches[keys], self._work[heads, layout]
