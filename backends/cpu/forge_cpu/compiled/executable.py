"""A graph as one program: Python sets a frame, the crew runs every step, Python copies the rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forge.backend import (
    Array,
    BackendError,
    Executable,
    Graph,
    Progress,
    Rows,
    Weight,
    row_indices,
)
from forge_cpu.compiled.emit import Emitter
from forge_cpu.compiled.memory import Memory
from forge_cpu.compiled.own import own_values
from forge_cpu.compiled.packed import load, packers, placeholders
from forge_cpu.compiled.shared import Shared
from forge_cpu.crew import Crew
from forge_cpu.library import Library

_CHUNK_WORK = 100e9
"""Multiply-adds of one prefill chunk: well under a second of a small CPU, as each is a beat."""


class CompiledExecutable(Executable):
    """Owns the packed weights, the caches, the activations and the program over them."""

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, Weight],
        progress: Progress,
        library: Library,
        crew: Crew,
    ) -> None:
        self._graph = graph
        self.chunk = chunk = _chunk(graph)
        self._crew = crew
        self._open = True
        library.prepare(_kernels(graph, library, crew), progress)
        packed = load(weights, library, crew, progress)
        self._shared = Shared(graph, packed, crew.size, chunk)
        self._memories = _memories(self._shared, chunk)
        self._programs = {
            single: Emitter(memory, library, single=single).record().program()
            for single, memory in self._memories.items()
        }

    @property
    def graph(self) -> Graph:
        """The graph it was compiled from."""
        return self._graph

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        """One call of the crew."""
        if not self._open:
            raise BackendError("this executable is closed")
        wanted = row_indices(rows, len(positions))
        single = len(positions) == 1 and len(wanted) < 2
        memory, inputs_of = self._memories[single], self._shared.inputs
        inputs_of.set({**inputs, "positions": positions, "slots": slots, "rows": wanted})
        for name, value in inputs.items():
            if name not in inputs_of:
                memory.output(name)[: len(value)] = value
        self._crew.run(self._programs[single])
        return {
            name: memory.output(name)[: int(self._shared.counter(name)[0])].copy()
            for name in self._graph.outputs
        }

    def close(self) -> None:
        """Drop weights, caches and activations."""
        if self._open:
            self._open = False
            del self._shared, self._memories, self._programs


def _memories(shared: Shared, chunk: int) -> dict[bool, Memory]:
    """For runs of any length, and for those of one token."""
    return {False: Memory(shared, chunk), True: Memory(shared, 1, own_values(shared))}


def _kernels(graph: Graph, library: Library, crew: Crew) -> set[str]:
    """The names of all that the graph takes, by writing its programs over no weights."""
    shared = Shared(graph, placeholders(graph), crew.size, 1)
    return packers(graph) | {
        name
        for single, memory in _memories(shared, 1).items()
        for name in Emitter(memory, library, single=single).record().kernels
    }


def _chunk(graph: Graph) -> int:
    """A power of two from 32 to 512, the same for every run of the same graph."""
    most = _CHUNK_WORK / max(1, graph.multiply_adds())
    return int(2 ** np.clip(np.floor(np.log2(max(1.0, most))), 5, 9))
