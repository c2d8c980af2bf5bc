"""A backend on a GPU: what all of them do alike once their device is open."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from forge.backend import Backend, Executable, Graph, Node, Progress, Value, Weight
from forge_gpu.executable import GpuExecutable
from forge_gpu.kernels import Kernels
from forge_gpu.kv import check
from forge_gpu.loading import sorters
from forge_gpu.rehearsal import wanted
from forge_gpu.sizes import Sizes
from forge_gpu.support import supported
from forge_gpu.workshop import Workshop


class GpuBackend(Backend):
    """Compiles graphs with the kernels and the workshop of the device that a subclass opens."""

    @property
    @abstractmethod
    def kernels(self) -> Kernels:
        """Of the open device."""

    @property
    @abstractmethod
    def workshop(self) -> Workshop:
        """Of the open device."""

    def supports(self, node: Node, specs: Mapping[str, Value]) -> bool:
        """Every op, with the weight types and sizes that the kernels have."""
        return supported(node, specs)

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        """Compile the kernels that are missing, then load."""
        for spec in graph.state.values():
            check(spec, self.kernels.gpu.features)
        sizes = self._sizes(graph)
        self._prepare(sizes, progress)
        made = GpuExecutable(sizes, weights, progress, self.workshop)
        self.kernels.save()
        return made

    def warm(self, graph: Graph | None, progress: Progress) -> str:
        """Have the graph's kernels compiled; for others there is nothing to prepare."""
        if graph is None:
            return ""
        self._prepare(self._sizes(graph), progress)
        return str(self.kernels.folder)

    def required(self, graph: Graph) -> int:
        """Weights in planes, caches, and one chunk's activations."""
        return self._sizes(graph).total

    def _prepare(self, sizes: Sizes, progress: Progress) -> None:
        """Compile what loading and running take."""
        asked = [*sorters(sizes.placement), *wanted(sizes, self.kernels)]
        self.kernels.prepare(asked, progress)

    def _sizes(self, graph: Graph) -> Sizes:
        return Sizes(graph, self.kernels, self.config.frugal)
