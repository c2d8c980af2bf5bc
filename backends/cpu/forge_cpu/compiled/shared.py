"""What both programs of a graph work on: weights, inputs, caches."""

from __future__ import annotations

from collections.abc import Mapping

from forge.backend import (
    Array,
    BackendUnsupported,
    Graph,
    StateSpec,
    Step,
    TensorSpec,
    Value,
    steps,
)
from forge.graph import TOKENS
from forge_cpu.compiled.frame import Inputs
from forge_cpu.kv import Attention, KvCache, KvLayout
from forge_cpu.packing import Packed


class Shared:
    """Owns them; a name is a value of the graph."""

    def __init__(
        self, graph: Graph, weights: Mapping[str, Packed | Array], threads: int, chunk: int
    ) -> None:
        self.graph, self.threads = graph, threads
        self.weights = dict(weights)
        self.inputs = Inputs(chunk)
        self.steps: list[Step] = steps(graph)
        self._specs: dict[str, Value] = graph.validate()
        self._caches: dict[str, KvCache] = {}
        self._work: dict[tuple[int, KvLayout], tuple[Array, Array]] = {}

    def activation(self, name: str) -> TensorSpec:
        """What the graph says of a value that is made in a run."""
        spec = self._specs[name]
        if not isinstance(spec, TensorSpec):
            raise BackendUnsupported(f"{name} is {spec}, not an activation")
        return spec

    def width(self, name: str) -> int:
        """Columns of an activation."""
        return int(self.activation(name).shape[-1])

    def counter(self, name: str) -> Array:
        """Where kernels find how many rows an activation has in this run."""
        whole = self.activation(name).shape[0] == TOKENS
        return self.inputs.tokens if whole else self.inputs.rows

    def vector(self, name: str) -> Array:
        """A weight of one row."""
        found = self.weights[name]
        if isinstance(found, Packed):
            raise BackendUnsupported(f"{name} is a matrix where a vector is read")
        return found

    def matrix(self, name: str) -> Packed:
        """A weight of more rows."""
        found = self.weights[name]
        if not isinstance(found, Packed):
            raise BackendUnsupported(f"{name} is a vector where a matrix is read")
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
            self._work[heads, layout] = node.scratch(self.threads), node.partials()
        return node, self._caches[keys], self._work[heads, layout]
