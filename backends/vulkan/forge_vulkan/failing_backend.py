"""The Vulkan backend whose driver fails at a step of a phase, as the suite's L3 asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from forge.backend import (
    Array,
    BackendConfig,
    Executable,
    Graph,
    Progress,
    Rows,
    Sampler,
    Weight,
)
from forge_vulkan.backend import VulkanBackend
from forge_vulkan.failing import Script


class FailingBackend(VulkanBackend):
    """Counts the steps of the first model that is compiled; known answers are of one node each."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self._script = Script(config.options["fault"], self.gpu)
        self._found = False

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        """Of the model, the steps load and compile begin here."""
        if self._found or len(graph.nodes) == 1:
            return super().compile(graph, weights, progress)
        self._found = True
        self._script.reach("load")
        self._script.reach("compile")
        return FailingExecutable(super().compile(graph, weights, progress), self._script)


class FailingExecutable(Executable):
    """Passes everything on; a chunk of the prompt or a token is a step."""

    def __init__(self, inner: Executable, script: Script) -> None:
        self._inner, self._script = inner, script
        self.chunk = inner.chunk

    @property
    def graph(self) -> Graph:
        """The graph it was compiled from."""
        return self._inner.graph

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        """A chunk of the prompt."""
        self._script.reach("prefill")
        return self._inner.run(inputs, positions, slots, rows)

    def keep(self, slot: int, count: int) -> int:
        """As much as is kept."""
        return self._inner.keep(slot, count)

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        """Every token is a step."""
        for following in self._inner.decode(token, start, count, sampler, slot):
            self._script.reach("decode")
            yield following

    def close(self) -> None:
        """Give back what it holds."""
        self._inner.close()
