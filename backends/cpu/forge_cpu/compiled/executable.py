"""A graph as one program: Python sets a frame, the crew runs every step, Python copies the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from forge.backend import (
    Array,
    BackendError,
    Executable,
    Graph,
    Progress,
    Rows,
    Sampler,
    Weight,
    row_indices,
)
from forge_cpu.compiled.calls import Recorder
from forge_cpu.compiled.emit import Emitter
from forge_cpu.compiled.memory import Memory
from forge_cpu.compiled.own import own_values
from forge_cpu.compiled.packed import load, packers, placeholders
from forge_cpu.compiled.shared import Shared
from forge_cpu.crew import Crew
from forge_cpu.library import Library
from forge_cpu.order import Order
from forge_cpu.program import Program

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
        packed = load(graph, weights, library, crew, progress)
        self._shared = Shared(graph, packed, crew.size, chunk)
        self._memories = _memories(self._shared, chunk)
        recorders = {
            single: Emitter(memory, library, single=single).record()
            for single, memory in self._memories.items()
        }
        self._programs = {single: recorder.program() for single, recorder in recorders.items()}
        self._order = _order(graph, self._memories[True])
        if self._order:
            _add_order(recorders[True], self._memories[True], self._order)
            self._decoding = recorders[True].program()

    @property
    def graph(self) -> Graph:
        """The graph it was compiled from."""
        return self._graph

    @property
    def program_of_one(self) -> Program:
        """What a run of one token is; for looking at."""
        return self._programs[True]

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

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        """The threads find the few logits that can be drawn; Python sees no others."""
        if not (self._order and sampler.candidates):
            yield from super().decode(token, start, count, sampler, slot)
            return
        for position in range(start, start + count):
            if not self._open:
                raise BackendError("this executable is closed")
            one = {"tokens": token, "positions": position, "slots": slot, "rows": 0}
            self._shared.inputs.set({name: np.array([value]) for name, value in one.items()})
            self._crew.run(self._decoding)
            token = self._order.draw(sampler, position + 1)
            sampler.accept(token)
            yield token

    def close(self) -> None:
        """Drop weights, caches and activations."""
        if self._open:
            self._open = False
            del self._shared, self._memories, self._programs
            if self._order:
                del self._decoding
            self._order = None


def _memories(shared: Shared, chunk: int) -> dict[bool, Memory]:
    """For runs of any length, and for those of one token."""
    return {False: Memory(shared, chunk), True: Memory(shared, 1, own_values(shared))}


def kernels(graph: Graph, library: Library, threads: int) -> set[str]:
    """The names of all that the graph takes, by writing a program over no weights."""
    shared = Shared(graph, placeholders(graph), threads, 1)
    memory = Memory(shared, 1)
    # Of the two programs, as that of one token has no kernel that the other has not.
    recorder = Emitter(memory, library, single=False).record()
    if order := _order(graph, memory):
        _add_order(recorder, memory, order)
    return {*packers(graph), *recorder.kernels}


def _order(graph: Graph, memory: Memory) -> Order | None:
    """Where a graph makes logits of tokens, what finds the largest of a row."""
    if set(graph.inputs) != {"tokens", "positions", "slots", "rows"} or len(graph.outputs) != 1:
        return None
    row = memory.output(graph.outputs[0])
    return Order(row[0]) if row.ndim == 2 else None


def _add_order(recorder: Recorder, memory: Memory, order: Order) -> None:
    (output,) = memory.shared.graph.outputs
    with recorder.touching([memory.output(output)], [order.extremes]):
        order.add(recorder)


def _chunk(graph: Graph) -> int:
    """A power of two from 32 to 512, the same for every run of the same graph."""
    most = _CHUNK_WORK / max(1, graph.multiply_adds())
    return int(2 ** np.clip(np.floor(np.log2(max(1.0, most))), 5, 9))
