"""A Vulkan device: opened once, for as many graphs as are compiled."""

from __future__ import annotations

from collections.abc import Mapping

from forge.backend import (
    Backend,
    BackendConfig,
    Check,
    Device,
    Executable,
    Graph,
    Memory,
    Node,
    Progress,
    Value,
    Weight,
)
from forge_gpu.executable import GpuExecutable
from forge_gpu.kv import check
from forge_gpu.pacing import Pace
from forge_gpu.rehearsal import wanted
from forge_gpu.sizes import Sizes
from forge_gpu.support import supported
from forge_vulkan.opening import Opening
from forge_vulkan.runtime.kernels import Kernels
from forge_vulkan.runtime.submission import Queue
from forge_vulkan.workshop import Workshop


class VulkanBackend(Backend):
    """Owns the instance, the device, its queue and its pipelines."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self._opening = Opening(config)
        self.gpu = self._opening.gpu
        self._queue = Queue(self.gpu)
        self._kernels = Kernels(self.gpu)
        self._pace = Pace(self._queue, self.device.kind)
        self._closed = False

    @property
    def device(self) -> Device:
        """The device that is open."""
        return self._opening.listed.device

    def devices(self) -> list[Device]:
        """All that Vulkan lists here."""
        return self._opening.devices

    def supports(self, node: Node, specs: Mapping[str, Value]) -> bool:
        """Every op, with the weight types and sizes that the kernels have."""
        return supported(node, specs)

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        """Compile the pipelines that are missing, then load."""
        for spec in graph.state.values():
            check(spec, self.gpu.features)
        sizes = self._sizes(graph)
        self._kernels.prepare(wanted(sizes, self._kernels), progress)
        workshop = Workshop(self._kernels, self._queue, self._pace)
        made = GpuExecutable(sizes, weights, progress, workshop)
        self._kernels.save()
        return made

    def warm(self, graph: Graph | None, progress: Progress) -> str:
        """Have the graph's pipelines compiled; for others there is nothing to prepare."""
        if graph is None:
            return ""
        self._kernels.prepare(wanted(self._sizes(graph), self._kernels), progress)
        return str(self._kernels.folder)

    def required(self, graph: Graph) -> int:
        """Weights in planes, caches, and one chunk's activations."""
        return self._sizes(graph).total

    def memory(self) -> Memory:
        """Of the largest heap on the device."""
        return self.gpu.memory()

    def checks(self) -> list[Check]:
        """What was found out about the driver and the device."""
        return self._opening.checks()

    def close(self) -> None:
        """Give the device back."""
        if not self._closed:
            self._closed = True
            self._kernels.save()
            self._kernels.close()
            self._queue.close()
            self._opening.close()

    def _sizes(self, graph: Graph) -> Sizes:
        return Sizes(graph, self._kernels, self.config.frugal)
