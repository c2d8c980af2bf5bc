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
from forge_cpu.compiled.packed import load, packers, placeholders
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
        self._memory = Memory(graph, load(weights, library, crew, progress), crew.size, chunk)
        self._programs = {
            recorder.single: recorder.record().program()
            for recorder in _emitters(self._memory, library)
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
        memory = self._memory
        memory.inputs.set({**inputs, "positions": positions, "slots": slots, "rows": wanted})
        for name, value in inputs.items():
            if name not in memory.inputs:
                memory.values[name][: len(value)] = value
        self._crew.run(self._programs[len(positions) == 1])
        return {
            name: memory.values[name][: int(memory.counter(name)[0])].copy()
            for name in self._graph.outputs
        }

    def close(self) -> None:
        """Drop weights, caches and activations."""
        if self._open:
            self._open = False
            del self._memory, self._programs


def _emitters(memory: Memory, library: Library) -> list[Emitter]:
    """For runs of any length, and for those of one token."""
    return [Emitter(memory, library, single=single) for single in (False, True)]


def kernels(graph: Graph, library: Library, threads: int) -> set[str]:
    """The names of all that the graph takes, by writing its programs over no weights."""
    memory = Memory(graph, placeholders(graph), threads, 1)
    names = {name for e in _emitters(memory, library) for name in e.record().kernels}
    return names | packers(graph)


def _chunk(graph: Graph) -> int:
    """A power of two from 32 to 512, the same for every run of the same graph."""
    most = _CHUNK_WORK / max(1, graph.multiply_adds())
    return int(2 ** np.clip(np.floor(np.log2(max(1.0, most))), 5, 9))
