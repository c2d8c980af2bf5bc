"""A graph on the device: recorded once for one token and for many, and replayed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from forge.backend import (
    Array,
    BackendError,
    Executable,
    Graph,
    Progress,
    Rows,
    Sampler,
    Weight,
    row_indices,
)
from forge_vulkan.decoding import AHEAD, Decoding, decides
from forge_vulkan.emit import Work
from forge_vulkan.frame import Frame
from forge_vulkan.kv import state_bytes
from forge_vulkan.loading import load
from forge_vulkan.marks import Marks
from forge_vulkan.runtime.kernels import Kernels
from forge_vulkan.runtime.memory import Arenas, Region
from forge_vulkan.runtime.pacing import Pace, Piece
from forge_vulkan.runtime.recording import Commands, Profile, Recording
from forge_vulkan.runtime.submission import Queue
from forge_vulkan.sections import Recorder, Shape, waiting
from forge_vulkan.sizes import HEAD_ROWS, Sizes
from forge_vulkan.steps.sampling import (
    CANDIDATE_BYTES,
    GREEDY_BYTES,
    candidates,
    candidates_scratch_bytes,
    greedy,
    greedy_scratch_bytes,
)
from forge_vulkan.tape import ROWS, TOKENS, Activation, Tape

_CANDIDATES = 40
"""Looked for at least: what most people sample from."""


class VulkanExecutable(Executable):
    """Owns weights, caches, work memory and recordings of one graph."""

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, Weight],
        progress: Progress,
        kernels: Kernels,
        queue: Queue,
        pace: Pace,
        sizes: Sizes,
    ) -> None:
        self._graph, self._kernels, self._queue, self._pace = graph, kernels, queue, pace
        gpu = kernels.gpu
        self._plan, self._sizes, self.chunk = sizes.plan, sizes, sizes.chunk
        self._open = True
        self._decoding: Decoding | None = None
        self._commands = Commands(gpu)
        self._device, self._upload = Arenas(gpu, "device"), Arenas(gpu, "upload", 1 << 20)
        self._download = Arenas(gpu, "download", 1 << 20)
        self._rooms: dict[object, Region] = {}
        self._tables: dict[tuple[float, ...], Region] = {}
        self._sections: dict[tuple[Shape, Frame], list[Piece]] = {}
        self._loaded = load(kernels, queue, weights, sizes.placement, progress)
        try:
            self._prepare(graph)
        except BaseException:
            self.close()
            raise

    def _prepare(self, graph: Graph) -> None:
        sizes, plan = self._sizes, self._plan
        self._device.reserve(sizes.working)
        self._marks = Marks(self._download, len({n.layer for n in graph.nodes if n.layer >= 0}))
        self._caches = {
            name: self._device.region(state_bytes(s)) for name, s in graph.state.items()
        }
        self._memory = self._device.region(sizes.memory)
        self._frames = {n: Frame(self._device, self._upload, n) for n in (1, self.chunk)}
        self._inputs: dict[str, Region] = {}
        self._kept: dict[str, Region] = {}
        self._results: dict[str, Region] = {}
        for name, size in sizes.kept.items():
            self._kept[name] = self._device.region(size)
            if name in graph.inputs:
                self._inputs[name] = self._staged(self._upload, self._kept[name])
            if name in graph.outputs:
                self._results[name] = self._staged(self._download, self._kept[name])
        self._work = Work(
            self._loaded.matrices, self._loaded.vectors, self._room, self._table, self._cache
        )
        self._recorder = Recorder(self._kernels, self._commands, plan, self._work)
        self._record()
        self._clear()

    def _record(self) -> None:
        """Every section, so that nothing is compiled or recorded in a reply."""
        self._decoding = self._recorded_decoding() if self._samples else None
        one, many = (self._frames[n] for n in (1, self.chunk))
        for frame, bodies, heads in (
            (one, (1,), (1,)),
            (many, self._sizes.buckets[1:], (1, HEAD_ROWS)),
        ):
            self._setting(frame)
            for most in bodies:
                self._section(Shape(False, most), frame)
            for most in heads if self._sizes.head else ():
                self._section(Shape(True, most), frame)

    @property
    def _samples(self) -> bool:
        """Whether it makes logits of tokens, which the device can look through."""
        graph = self._graph
        inputs = set(graph.inputs) == {"tokens", "positions", "slots", "rows"}
        return inputs and len(graph.outputs) == 1 and self._plan.of_rows(graph.outputs[0])

    def _recorded_decoding(self) -> Decoding:
        """A step that finds its token by itself, as often as steps are under way at one time."""
        frame = self._frames[1]
        (name,) = self._graph.outputs
        results = [self._download.region(GREEDY_BYTES) for _ in range(AHEAD)]
        few = self._download.region(CANDIDATE_BYTES)
        step = [Shape(False, 1), Shape(True, 1)]
        logits = self._activations(step[1])[name]
        by_wanted: dict[int, list[Piece]] = {}

        def recorded(after: Callable[[Tape], None]) -> list[Piece]:
            return self._recorder.record(
                step, frame, self._activations, self._memory, self._marks, after=after
            )

        def largest(result: Region) -> Callable[[Tape], None]:
            scratch = self._room("largest", greedy_scratch_bytes())
            return lambda tape: greedy(tape, logits, result, scratch, onward=True)

        def wanted(count: int) -> tuple[list[Piece], Region]:
            count = max(_CANDIDATES, count)
            scratch = self._room("candidates", candidates_scratch_bytes(logits.width))
            if count not in by_wanted:
                by_wanted[count] = recorded(
                    lambda tape: candidates(tape, logits, few, scratch, wanted=count)
                )
            return by_wanted[count], few

        def row() -> Array:
            self._pace.run(self._reading(step[1]))
            first: Array = self._read(name, 1)[0]
            return first

        wanted(_CANDIDATES)
        steps = [recorded(largest(result)) for result in results]
        return Decoding(frame, self._pace, self._setting(frame), steps, results, wanted, row)

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        """Recorded steps, where the device can find what decides the draw."""
        if not self._open:
            raise BackendError("this executable is closed")
        if self._decoding and decides(sampler):
            yield from self._decoding.tokens(token, start, count, sampler, slot)
        else:
            yield from super().decode(token, start, count, sampler, slot)

    @property
    def graph(self) -> Graph:
        """The graph it was compiled from."""
        return self._graph

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        """Replay what was recorded for as many tokens; more wanted rows come in blocks."""
        if not self._open:
            raise BackendError("this executable is closed")
        wanted = row_indices(rows, len(positions))
        single = len(positions) == 1 and len(wanted) < 2
        frame = self._frames[1 if single else self.chunk]
        most = 1 if single else self._sizes.bucket(max(2, len(positions)))
        fields = {**inputs, "positions": positions, "slots": slots}
        for name, region in self._inputs.items():
            given = np.ascontiguousarray(inputs[name], np.float32).reshape(-1)
            region.view(np.float32)[: len(given)] = given
        parts: dict[str, list[Array]] = {name: [] for name in self._graph.outputs}
        head = self._sizes.head
        first = True
        for start in range(0, max(1, len(wanted)), HEAD_ROWS):
            block = wanted[start : start + HEAD_ROWS]
            frame.set(**_fields(fields), rows=block)
            pieces = [self._setting(frame)]
            if first:
                pieces += self._section(Shape(False, most), frame)
                first = False
            if head and len(block):
                pieces += self._section(Shape(True, 1 if len(block) == 1 else HEAD_ROWS), frame)
            self._queue.where = self._marks.where
            self._pace.run(pieces)
            for name in self._graph.outputs:
                if self._plan.of_rows(name):
                    parts[name].append(self._read(name, len(block)))
                elif start == 0:
                    parts[name].append(self._read(name, len(positions)))
        return {name: np.concatenate(found) for name, found in parts.items()}

    def profile(self, tokens: int, repetitions: int = 20) -> list[tuple[str, str, float]]:
        """Median seconds of each dispatch of a run of so many tokens and its last row's outputs.

        With the name of what it makes and the kernel's. Tokens before them are not written: for
        looking at, in an executable that nobody talks to.
        """
        single = tokens == 1
        frame = self._frames[1 if single else self.chunk]
        positions = np.arange(tokens, dtype=np.int32)
        frame.set(
            tokens=positions,
            positions=positions,
            slots=np.zeros_like(positions),
            rows=positions[-1:],
        )
        profile = Profile(self._kernels.gpu)
        shapes = [Shape(False, 1 if single else self._sizes.bucket(tokens))]
        shapes += [Shape(True, 1)] if self._sizes.head else []
        recorded = self._recorder.record(
            shapes, frame, self._activations, self._memory, self._marks, profile=profile
        )
        pieces = [self._setting(frame), *recorded]
        found = []
        try:
            for _ in range(repetitions + 5):
                self._pace.run(pieces)
                found.append(profile.read())
        finally:
            profile.close()
        times = np.median([[end - start for *_, start, end in one] for one in found[5:]], axis=0)
        return [(*one[:2], float(t)) for one, t in zip(found[0], times, strict=True)]

    def _read(self, name: str, rows: int) -> Array:
        width = self._plan.width(name)
        found = self._results[name].view(np.float32)[: rows * width]
        copied: Array = found.reshape(rows, width).copy()
        return copied

    def _setting(self, frame: Frame) -> Piece:
        """What brings a run's words and inputs to the device."""
        key = Shape(False, 0), frame
        if key not in self._sections:
            recording = Recording(self._commands)
            frame.record(recording)
            for name, region in self._inputs.items():
                if region is not self._kept[name]:
                    recording.copy(region, self._kept[name])
            self._sections[key] = [Piece(recording.end(), 0.0)]
        return self._sections[key][0]

    def _section(self, shape: Shape, frame: Frame) -> list[Piece]:
        key = shape, frame
        if key not in self._sections:
            pieces = self._recorder.record(
                [shape], frame, self._activations, self._memory, self._marks
            )
            pieces += self._reading(shape)
            self._sections[key] = pieces
        return self._sections[key]

    def _reading(self, shape: Shape) -> list[Piece]:
        """What brings results to where the host sees them."""
        recording: Recording | None = None
        for name, region in self._results.items():
            kept = self._kept[name]
            if self._plan.of_rows(name) is shape.rows and region is not kept:
                recording = recording or Recording(self._commands)
                size = 4 * self._plan.width(name) * shape.most
                recording.copy(kept.part(0, size), region)
        return [Piece(recording.end(), 0.0)] if recording else []

    def _activations(self, shape: Shape) -> dict[str, Activation]:
        """Values that outlive a section; those of tokens have room for the longest run."""
        made: dict[str, Activation] = {}
        for name, region in self._kept.items():
            rows = self._plan.of_rows(name)
            most = shape.most if rows is shape.rows else self.chunk
            counter = ROWS if rows else TOKENS
            made[name] = Activation(region, self._plan.width(name), counter, most)
        return made

    def _staged(self, arenas: Arenas, region: Region) -> Region:
        return region if self._device.mapped else arenas.region(region.size)

    def _room(self, key: object, size: int) -> Region:
        """Memory of a step's own, which steps of one shape share; as large as first asked for."""
        full = key, size
        if full not in self._rooms:
            self._rooms[full] = self._device.region(size)
        return self._rooms[full]

    def _table(self, numbers: tuple[float, ...]) -> Region:
        """Float32 numbers on the device, which never change."""
        if numbers not in self._tables:
            host = Arenas(self._kernels.gpu, "upload", 4096)
            try:
                source = host.region(4 * len(numbers))
                source.view(np.float32)[:] = np.array(numbers, np.float32)
                self._tables[numbers] = self._device.region(4 * len(numbers))
                recording = Recording(self._commands)
                recording.copy(source, self._tables[numbers])
                self._queue.run([recording.end()])
            finally:
                host.close()
        return self._tables[numbers]

    def _cache(self, name: str) -> Region:
        return self._caches[name]

    def _clear(self) -> None:
        """Zero what kernels may read before anything was written there."""
        recording = Recording(self._commands)
        for region in (*self._caches.values(), *self._rooms.values()):
            recording.fill(region)
        self._queue.run([recording.end()])

    def close(self) -> None:
        """Give back what the device holds; nothing of it is under way between two calls."""
        if not self._open:
            return
        self._open = False
        if self._decoding:
            self._decoding.open = False
            self._decoding.finish()
        self._commands.close()
        for arenas in (self._device, self._upload, self._download):
            arenas.close()
        self._loaded.close()


def _fields(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Of a frame, among a run's inputs."""
    return {name: value for name, value in inputs.items() if value.ndim == 1}


__all__ = ["VulkanExecutable", "waiting"]
