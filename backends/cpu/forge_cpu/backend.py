"""The CPU as a device: numpy or compiled kernels, on as many threads as asked for."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from threadpoolctl import threadpool_limits

from forge.backend import (
    Backend,
    BackendConfig,
    BackendUnavailable,
    Device,
    Executable,
    Graph,
    Memory,
    Node,
    Progress,
    Value,
    Weight,
    reference,
)
from forge_cpu.cores import default_threads
from forge_cpu.executable import CpuExecutable

if TYPE_CHECKING:
    from forge_cpu.compiled.compiler import Compiler

_ID = "0"
"""What --device takes for the one device there is."""
KERNELS = "FORGE_CPU_KERNELS"
"""1 asks for compiled kernels."""
_ACTIVATIONS = 64 << 20
"""Bytes of one chunk's, about."""


class CpuBackend(Backend):
    """Always there. In numpy it holds every weight in float32."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        if config.device not in (None, _ID):
            raise BackendUnavailable(
                f"the CPU backend has no device {config.device!r}: there is only {_ID}"
            )
        self.threads = config.threads or default_threads()
        self._limits = threadpool_limits(self.threads)
        self._compiler = _compiler(self.threads)

    @property
    def device(self) -> Device:
        """The processor's name and the threads in use."""
        return Device(f"{_processor()} ({self.threads} threads)", "cpu", _ID)

    def supports(self, node: Node, specs: Mapping[str, Value]) -> bool:
        """Every op; every weight type goes through GGML's reference dequantisation."""
        del specs
        return node.op in reference.KERNELS

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        """A program of kernels; numpy where there are none for some node."""
        if self._compiler and self._compiler.takes(graph):
            return self._compiler.compile(graph, weights, progress)
        return CpuExecutable(graph, weights, progress)

    def required(self, graph: Graph) -> int:
        """Weights and state as they are kept, and one chunk's activations."""
        if self._compiler and self._compiler.takes(graph):
            return self._compiler.required(graph) + _ACTIVATIONS
        weights = sum(w.elements for w in graph.distinct_weights())
        return 4 * (weights + sum(s.elements for s in graph.state.values())) + _ACTIVATIONS

    def memory(self) -> Memory:
        """What the kernel says is there, and what it would give."""
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return Memory(pages, _available() or pages)

    def close(self) -> None:
        """End the crew, and give numpy its threads back."""
        if self._compiler:
            self._compiler.close()
        self._limits.unregister()


def _compiler(threads: int) -> Compiler | None:
    """Kernels, for those who ask for them and have the extra `cpu`."""
    if os.environ.get(KERNELS) != "1" or find_spec("numba") is None:
        return None
    from forge_cpu.compiled.compiler import Compiler  # llvmlite is part of the extra

    return Compiler(threads)


def _processor() -> str:
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _available() -> int | None:
    """MemAvailable in bytes (proc(5)), within the cgroup's limit; None where neither is told."""
    found: list[int] = []
    try:
        with Path("/proc/meminfo").open(encoding="ascii") as lines:
            found += [int(x.split()[1]) << 10 for x in lines if x.startswith("MemAvailable:")]
    except (OSError, ValueError):
        pass
    group = Path("/sys/fs/cgroup")
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit != "max":
            used = int((group / "memory.current").read_text(encoding="ascii"))
            found.append(max(0, int(limit) - used))
    except (OSError, ValueError):
        pass
    return min(found, default=None)
