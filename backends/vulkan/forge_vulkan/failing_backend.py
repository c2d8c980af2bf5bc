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

_IN_SMALL = "miniature"
"""The name of the graph that forge compiles beside each model, or before it, for known answers."""


class FailingBackend(VulkanBackend):
    """Counts the steps of the model; other known answers are graphs of one node each."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self._script = Script(config.options["fault"], self.gpu)

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        """Of the model, the steps load and compile begin here."""
        if len(graph.nodes) == 1 or graph.name == _IN_SMALL:
            return super().compile(graph, weights, progress)
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
