"""A GPU backend whose driver fails at a step of a phase, as the conformance suite's L3 asks.

How the driver is made to fail is each backend's own; `forge_gpu.faults` has what their plugins
declare. A backend that is opened without the option never sees this module.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping

from forge.backend import (
    Array,
    BackendUnavailable,
    Executable,
    Graph,
    Progress,
    Rows,
    Sampler,
    Weight,
)
from forge_gpu.backend import GpuBackend
from forge_gpu.faults import KINDS

PHASES = ("load", "compile", "prefill", "decode")
_IN_SMALL = "miniature"
"""The name of the graph that forge compiles beside each model, or before it, for known answers."""


class Script:
    """Has the driver fail when the phase's step is reached: the first, in decode the third token.

    `option` is FAULT@PHASE, such as lost@decode.
    """

    def __init__(self, option: str, fail: Callable[[str], None]) -> None:
        self._fault, _, self._phase = option.partition("@")
        if self._fault not in KINDS or self._phase not in PHASES:
            raise BackendUnavailable(f"{option!r} is no fault and phase: see forge_gpu.failing")
        self._fail = fail
        self._left = 3 if self._phase == "decode" else 1

    def reach(self, phase: str) -> None:
        """A step of the phase begins."""
        if phase == self._phase:
            self._left -= 1
            if not self._left:
                self._fail(self._fault)


class Failing(GpuBackend):
    """Counts the steps of the model; other known answers are graphs of one node each."""

    @property
    @abstractmethod
    def script(self) -> Script:
        """What is to happen, and when."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        """Of the model, the steps load and compile begin here."""
        if len(graph.nodes) == 1 or graph.name == _IN_SMALL:
            return super().compile(graph, weights, progress)
        self.script.reach("load")
        self.script.reach("compile")
        return FailingExecutable(super().compile(graph, weights, progress), self.script)


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
