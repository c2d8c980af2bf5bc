"""Runs a graph node by node with the reference ops in float32."""

from __future__ import annotations

import math
import mmap
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress

import numpy as np

from forge.backend import (
    Array,
    Executable,
    Graph,
    Node,
    Progress,
    Rows,
    Weight,
    reference,
    row_indices,
)

_CHUNK_WORK = 25e9
"""Multiply-adds of one prefill chunk: well under a second of a small CPU, as each is a beat."""


class CpuExecutable(Executable):
    """Owns the dense weights and the state arrays."""

    def __init__(self, graph: Graph, weights: Mapping[str, Weight], progress: Progress) -> None:
        self._graph = graph
        self._last_use = _last_uses(graph)
        self._state = {name: _lazy_zeros(s.shape) for name, s in graph.state.items()}
        self._weights: dict[str, Array] = {}
        dense: dict[tuple[str, tuple[int, int] | None], Array] = {}
        for done, (name, weight) in enumerate(weights.items(), 1):
            part = weight.spec.tensor, weight.spec.rows
            if part not in dense:
                dense[part] = weight.dense()
                weight.release()
            self._weights[name] = dense[part]
            progress("load", done, len(weights), name)
        self.chunk = _chunk(graph)

    @property
    def graph(self) -> Graph:
        """The graph it was compiled from."""
        return self._graph

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        """Every node in order; a value is dropped after its last use."""
        values: dict[str, Array] = {
            **self._weights,
            **self._state,
            **inputs,
            "positions": positions,
            "slots": slots,
            "rows": row_indices(rows, len(positions)),
        }
        for node in self._graph.nodes:
            arguments = [values[name] for name in node.inputs]
            values[node.name] = self.compute(node, arguments)
            for name in self._last_use[node.name]:
                del values[name]
        return {name: values[name] for name in self._graph.outputs}

    def compute(self, node: Node, arguments: Sequence[Array]) -> Array:
        """One node."""
        return reference.KERNELS[node.op](*arguments, **node.attrs)

    def close(self) -> None:
        """Drop weights and state."""
        self._weights, self._state = {}, {}


def _lazy_zeros(shape: tuple[int, ...]) -> Array:
    """Float32 zeros whose pages exist once they are written: a long context costs what it holds.

    Huge pages would give every head 2 MiB for its first token.
    """
    pages = mmap.mmap(-1, 4 * math.prod(shape))
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        with suppress(OSError):  # a kernel without huge pages
            pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.float32).reshape(shape)


def _chunk(graph: Graph) -> int:
    """A power of two from 16 to 512, the same for every run of the same graph."""
    most = _CHUNK_WORK / max(1, graph.multiply_adds())
    return int(2 ** np.clip(np.floor(np.log2(max(1.0, most))), 4, 9))


def _last_uses(graph: Graph) -> dict[str, list[str]]:
    """By node, the values that no later node reads."""
    last: dict[str, str] = {}
    for node in graph.nodes:
        last.update(dict.fromkeys(node.inputs, node.name))
        last.setdefault(node.name, node.name)
    uses: dict[str, list[str]] = {node.name: [] for node in graph.nodes}
    kept = {*graph.outputs, *graph.weights, *graph.state}
    made = Counter(node.name for node in graph.nodes)
    for name, node_name in last.items():
        if name in made and name not in kept:
            uses[node_name].append(name)
    return uses
