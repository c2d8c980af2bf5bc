"""The CPU as a device: numpy, on as many threads as asked for."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

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
from forge_cpu.compiled.choice import all_computed, available
from forge_cpu.compiled.executable import CompiledExecutable
from forge_cpu.compiled.packed import packed_bytes
from forge_cpu.cores import default_threads
from forge_cpu.crew import Crew
from forge_cpu.executable import CpuExecutable
from forge_cpu.library import Library

_ID = "0"
"""What --device takes for the one device there is."""


class CpuBackend(Backend):
    """Always there; holds every weight in float32."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        if config.device not in (None, _ID):
            raise BackendUnavailable(
                f"the CPU backend has no device {config.device!r}: there is only {_ID}"
            )
        self._library = Library() if available() else None
        self.threads = config.threads or default_threads()
        self._limits = threadpool_limits(self.threads)
        self._crew: Crew | None = None

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
        if self._library is None or not all_computed(graph):
            return CpuExecutable(graph, weights, progress)
        if self._crew is None:
            self._crew = Crew(self._library, self.threads)
        return CompiledExecutable(graph, weights, progress, self._library, self._crew)

    def required(self, graph: Graph) -> int:
        """Weights and state as they are kept, and one chunk's activations."""
        if self._library is None or not all_computed(graph):
            weights = sum(w.elements for w in graph.distinct_weights())
            return 4 * (weights + sum(s.elements for s in graph.state.values())) + (64 << 20)
        return (
            sum(packed_bytes(spec) for spec in graph.distinct_weights())
            + graph.state_bytes()
            + (64 << 20)
        )

    def memory(self) -> Memory:
        """What the kernel says is there, and what it would give."""
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return Memory(pages, _available() or pages)

    def close(self) -> None:
        """End the crew, and give numpy its threads back."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None
        self._limits.unregister()


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
