"""The door to the kernels: what they compute, and graphs compiled for a crew of threads."""

from __future__ import annotations

from collections.abc import Mapping

from forge.backend import Executable, Graph, Progress, Weight
from forge_cpu.compiled.choice import all_computed
from forge_cpu.compiled.executable import CompiledExecutable
from forge_cpu.compiled.packed import packed_bytes
from forge_cpu.crew import Crew
from forge_cpu.library import Library


class Compiler:
    """Owns the machine code and, once there is work, the crew."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._library = Library()
        self._crew: Crew | None = None

    def takes(self, graph: Graph) -> bool:
        """Whether there is a kernel for every node."""
        return all_computed(graph)

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        """The graph as a program."""
        if self._crew is None:
            self._crew = Crew(self._library, self._threads)
        return CompiledExecutable(graph, weights, progress, self._library, self._crew)

    def required(self, graph: Graph) -> int:
        """Bytes of packed weights and caches."""
        return sum(map(packed_bytes, graph.distinct_weights())) + graph.state_bytes()

    def close(self) -> None:
        """End the crew."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None
