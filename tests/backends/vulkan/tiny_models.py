"""Tiny models on the desk's device: executables of one process, whose submissions are counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from tests.backends.vulkan.desk import Desk

from forge.backend import Array, Graph, Sampler
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.testing import write_tiny
from forge.weights import Weights
from forge_gpu.executable import GpuExecutable
from forge_gpu.pacing import Pace
from forge_gpu.recordings import Recordings
from forge_gpu.sizes import Sizes
from forge_gpu.workplace import Workplace
from forge_vulkan.loading import load
from forge_vulkan.runtime.device import Gpu
from forge_vulkan.runtime.memory import Arenas
from forge_vulkan.runtime.recording import Commands
from forge_vulkan.runtime.submission import Queue
from forge_vulkan.workshop import Workshop

SIZES: dict[str, Any] = {"width": 128, "ffn": 256, "layers": 2, "vocabulary": 300}


class Counted(Queue):
    """The desk's queue, which notes how many command buffers each submission had."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk.gpu, limit=30)
        self.groups: list[int] = []

    def submit(self, buffers: Sequence[Any]) -> Any:
        self.groups.append(len(buffers))
        return super().submit(buffers)


class Draws(Sampler):
    """Notes how it was asked: for a whole row, or for candidates."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.rows: list[int] = []

    def sample(self, logits: Any, position: int) -> int:
        self.rows.append(len(logits))
        return super().sample(logits, position)


def graph_of(path: Path, context: int = 64) -> Graph:
    with open_gguf(path) as file:
        return build_graph(file, context=context)


def tiny(folder: Path, architecture: str = "llama", **more: Any) -> Path:
    return write_tiny(folder / f"{architecture}.gguf", architecture, **{**SIZES, **more})


def executable(
    desk: Desk,
    path: Path,
    context: int = 64,
    queue: Queue | None = None,
    graph: Graph | None = None,
) -> GpuExecutable:
    queue = queue or desk.queue
    file = open_gguf(path)
    graph = graph or build_graph(file, context=context)
    sizes = Sizes(graph, desk.kernels)
    pace = Pace(queue, "software")
    workshop = Workshop(desk.kernels, queue, pace)
    return GpuExecutable(sizes, Weights(graph, file), _quiet, workshop)


class Grown(Arenas):
    """Arenas that note what was allocated."""

    def __init__(self, gpu: Gpu, use: str) -> None:
        self.allocated: list[int] = []
        super().__init__(gpu, use)

    def reserve(self, size: int) -> None:
        self.allocated.append(size)
        super().reserve(size)


@contextmanager
def recorded(
    desk: Desk, path: Path, commands: Commands, *, context: int = 64, frugal: bool = False
) -> Iterator[tuple[Recordings, Grown]]:
    """A model's recordings, and the memory on the device that they work in."""
    device, upload, download = (Grown(desk.gpu, use) for use in ("device", "upload", "download"))
    with open_gguf(path) as file:
        graph = build_graph(file, context=context)
        sizes = Sizes(graph, desk.kernels, frugal)
        given = desk.kernels, desk.queue, Weights(graph, file), sizes.placement, _quiet
        loaded = load(*given)
        device.reserve(sizes.working)
        place = Workplace(sizes, device, upload, download)
        yield Recordings(desk.kernels, commands, place, loaded.matrices, loaded.vectors), device
    commands.close()
    for arenas in (device, upload, download):
        arenas.close()
    loaded.close()


def _quiet(phase: str, done: int, total: int, detail: str = "") -> None:
    del phase, done, total, detail


def feed(made: GpuExecutable, tokens: Sequence[int], start: int = 0, rows: Any = "all") -> Array:
    """Run them at once; the outputs."""
    ids = np.array(tokens, np.int32)
    places = np.arange(start, start + len(ids), dtype=np.int32)
    (out,) = made.run({"tokens": ids}, places, np.zeros_like(ids), rows).values()
    return out
