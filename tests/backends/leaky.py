"""CPU backends that each lose one thing again and again, to see that the soak tests notice."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping

import numpy as np

from forge.backend import (
    Array,
    BackendConfig,
    Device,
    Executable,
    Graph,
    Memory,
    Progress,
    Rows,
    Sampler,
    Weight,
)
from forge_cpu.executable import CpuExecutable
from forge_cpu.plain import NumpyBackend

LOST: list[object] = []
"""What nobody gives back."""


class LosesExecutables(NumpyBackend):
    """Keeps the weights of every model, closed or not."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        executable = CpuExecutable(graph, weights, progress)
        LOST.append(vars(executable).copy())
        return executable


class LosesDescriptors(NumpyBackend):
    """Opens a file for every model."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        LOST.append(os.open(os.devnull, os.O_RDONLY))
        return super().compile(graph, weights, progress)


class LosesThreads(NumpyBackend):
    """Starts a thread for every model."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
        return super().compile(graph, weights, progress)


class LosesProcesses(NumpyBackend):
    """Starts a compiler for every model, and does not look what became of it."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        LOST.append(subprocess.Popen(["true"]))
        return super().compile(graph, weights, progress)


class LosesDevices(NumpyBackend):
    """Takes four megabytes when it is opened, and keeps them when it is closed."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        LOST.append(np.ones(1 << 20, np.float32))


class LosesDeviceMemory(NumpyBackend):
    """Says that it has a device of its own, and never gives its memory back."""

    taken = 0

    @property
    def device(self) -> Device:
        return Device("Leaky 1", "discrete")

    def memory(self) -> Memory:
        return Memory(1 << 34, (1 << 34) - self.taken)

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        self.taken += self.required(graph)
        return super().compile(graph, weights, progress)


class LosesTokens(NumpyBackend):
    """Keeps four kilobytes of every token."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        return _LosesTokens(graph, weights, progress)


class _LosesTokens(CpuExecutable):
    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        LOST.append(np.ones((len(positions), 1024), np.float32))
        return super().run(inputs, positions, slots, rows)


class LosesFiles(NumpyBackend):
    """Leaves a file in the folder for temporary ones."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        os.close(tempfile.mkstemp()[0])


class Deaf(NumpyBackend):
    """Does not tell that it gets on: no beat while it loads."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        return super().compile(graph, weights, lambda *_: None)


class Forgetful(NumpyBackend):
    """Says that it kept a prefix, and has overwritten it."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        return _Forgetful(graph, weights, progress)


class _Forgetful(CpuExecutable):
    def keep(self, slot: int, count: int) -> int:
        for state in self._state.values():
            state[slot] = 0
        return count


class Swallows(NumpyBackend):
    """Catches what its driver raises while it decodes, and goes on as if nothing had been."""

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        return _Swallows(graph, weights, progress)


class _Swallows(CpuExecutable):
    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        for made, drawn in enumerate(super().decode(token, start, count, sampler, slot)):
            yield drawn if made < 3 else 0
