"""The door to the kernels: what they compute, and graphs compiled for a crew of threads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from forge.backend import Executable, Graph, Node, Progress, Value, Weight
from forge_cpu.compiled.choice import all_computed, reads
from forge_cpu.compiled.executable import CompiledExecutable, kernels
from forge_cpu.compiled.packed import packed_bytes
from forge_cpu.crew import Crew
from forge_cpu.isa import Isa
from forge_cpu.library import CannotCompile, Library, every

_CREW = ("crew.run", "crew.work")
"""What the crew's own threads are in."""


class Compiler:
    """Owns the machine code and, once there is work, the crew."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._library = Library()
        self._crew: Crew | None = None

    @property
    def isa(self) -> Isa:
        """What the kernels are written in."""
        return self._library.isa

    @property
    def folder(self) -> Path:
        """Where their code is kept."""
        return self._library.folder

    def reads(self, node: Node, specs: Mapping[str, Value]) -> bool:
        """Whether the node's weights are of types that kernels read."""
        return reads(node, specs)

    def takes(self, graph: Graph) -> bool:
        """Whether there is a kernel for every node."""
        return all_computed(graph)

    def prepare(self, graph: Graph | None, progress: Progress) -> str:
        """Have the code of all kernels that the graph takes, or of all there are.

        Where there is no compiler, or it takes none of them: why; else nothing.
        """
        try:
            names = kernels(graph, self._library, self._threads) if graph else every()
            self._library.prepare({*names, *_CREW}, progress)
        except CannotCompile as error:
            return str(error)
        return ""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        """The graph, which is prepared, as a program."""
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
