"""The CPU as a device on which numpy computes: every op and every weight type, in float32."""

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
from forge_cpu.cores import default_threads
from forge_cpu.executable import CpuExecutable

_ID = "0"
"""What --device takes for the one device there is."""
ACTIVATIONS = 64 << 20
"""Bytes of one chunk's, about."""


class NumpyBackend(Backend):
    """Always there: what serves where the kernels cannot, and what they are compared with."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        if config.device not in (None, _ID):
            raise BackendUnavailable(
                f"the CPU backend has no device {config.device!r}: there is only {_ID}"
            )
        self.threads = config.threads or default_threads()
        self._limits = threadpool_limits(self.threads)

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
        """The graph, a node at a time."""
        return CpuExecutable(graph, weights, progress)

    def required(self, graph: Graph) -> int:
        """Weights and state in float32, and one chunk's activations."""
        weights = sum(w.elements for w in graph.distinct_weights())
        return 4 * (weights + sum(s.elements for s in graph.state.values())) + ACTIVATIONS

    def memory(self) -> Memory:
        """What the kernel says is there, and what it would give."""
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return Memory(pages, _available() or pages)

    def close(self) -> None:
        """Give numpy its threads back."""
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
