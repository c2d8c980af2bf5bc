"""The CPU as a device: compiled kernels where code can be compiled and run, else numpy."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

from forge.backend import (
    BackendConfig,
    Check,
    Executable,
    Graph,
    Node,
    Progress,
    Value,
    Weight,
)
from forge_cpu.plain import ACTIVATIONS, NumpyBackend

if TYPE_CHECKING:
    from forge_cpu.compiled.compiler import Compiler

KERNELS = "FORGE_CPU_KERNELS"
"""0 asks for numpy."""
_CHECK = "kernels"
_INSTALL = "pip install 'forge-llm[cpu]'"
_MEND = f"{_INSTALL} --force-reinstall"


class CpuBackend(NumpyBackend):
    """Owns the compiler, if there is one; `checks` say why not."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        self._compiler: Compiler | None = None
        self._found = self._look()

    def _look(self) -> Check:
        """Open the compiler where that is wanted and possible."""
        if os.environ.get(KERNELS) == "0":
            return Check(_CHECK, True, f"numpy computes, as {KERNELS}=0 asks")
        try:
            if find_spec("numba") is None:  # imported when something is to be compiled
                return _slow("numba is not installed", _INSTALL)
            from forge_cpu.compiled.compiler import Compiler  # llvmlite is part of the extra

            self._compiler = Compiler(self.threads)
        except ModuleNotFoundError as error:
            return _slow(str(error), _INSTALL)
        except ImportError as error:
            return _slow(str(error), _MEND)
        except OSError as error:  # llvmlite's library does not load, or its code may not run
            return _slow(str(error), f"allow code that is made while a program runs, or {_MEND}")
        return Check(_CHECK, True, f"{self._compiler.isa}, kept in {self._compiler.folder}")

    @property
    def _kernels(self) -> Compiler | None:
        """What serves new graphs; executables keep the crew that they have."""
        return self._compiler if self._found.ok else None

    def checks(self) -> list[Check]:
        """Which kernels compute, or why none do."""
        return [self._found]

    def supports(self, node: Node, specs: Mapping[str, Value]) -> bool:
        """Every op; with kernels, the weight types that they read."""
        reads = self._kernels is None or self._kernels.reads(node, specs)
        return reads and super().supports(node, specs)

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        """A program of kernels; numpy where there are none for some node."""
        if kernels := self._prepared(graph, progress):
            return kernels.compile(graph, weights, progress)
        return super().compile(graph, weights, progress)

    def warm(self, graph: Graph | None, progress: Progress) -> str:
        """Have the graph's kernels compiled, or all there are."""
        kernels = self._prepared(graph, progress)
        return str(kernels.folder) if kernels else ""

    def _prepared(self, graph: Graph | None, progress: Progress) -> Compiler | None:
        """What computes the graph, all compiled; a kernel that cannot be is the end of them all."""
        if self._kernels and (graph is None or self._kernels.takes(graph)):
            if why := self._kernels.prepare(graph, progress):
                self._found = _slow(why, _MEND)
            return self._kernels
        return None

    def required(self, graph: Graph) -> int:
        """Weights and state as they are kept, and one chunk's activations."""
        if self._kernels and self._kernels.takes(graph):
            return self._kernels.required(graph) + ACTIVATIONS
        return super().required(graph)

    def close(self) -> None:
        """End the crew, and give numpy its threads back."""
        if self._compiler:
            self._compiler.close()
        super().close()


def _slow(why: str, advice: str) -> Check:
    why = why.strip().partition("\n")[0]
    return Check(_CHECK, False, f"numpy computes, many times slower: {why}", advice)
