"""A graph on the device: recorded once for one token and for many, and replayed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from forge.backend import (
    Array,
    BackendError,
    BackendHung,
    BackendLost,
    BackendUnsupported,
    Executable,
    Graph,
    Progress,
    Rows,
    Sampler,
    Timing,
    Weight,
    row_indices,
)
from forge_gpu.decoding import Decoding, decides
from forge_gpu.device import nowhere
from forge_gpu.kernels import Kernels
from forge_gpu.loading import Loaded
from forge_gpu.recordings import Recordings
from forge_gpu.sections import Shape
from forge_gpu.sizes import HEAD_ROWS, Sizes
from forge_gpu.workplace import Workplace
from forge_gpu.workshop import Workshop


class GpuExecutable(Executable):
    """Owns weights, caches, work memory and recordings of one graph."""

    def __init__(
        self,
        sizes: Sizes,
        weights: Mapping[str, Weight],
        progress: Progress,
        workshop: Workshop,
    ) -> None:
        self._sizes, self._workshop = sizes, workshop
        self._queue, self._pace = workshop.queue, workshop.pace
        self._queue.where = nowhere  # another graph's marks say nothing of this one's load
        self._plan, self.chunk = sizes.plan, sizes.chunk
        self._kernels: Kernels = sizes.kernels
        self._open = True
        self._decoding: Decoding | None = None
        self._commands = workshop.commands()
        self._device = workshop.arenas("device")
        self._hosts = workshop.arenas("upload", 1 << 20), workshop.arenas("download", 1 << 20)
        self._loaded = Loaded({}, {})
        try:
            self._loaded = workshop.load(weights, sizes.placement, progress)
            self._prepare()
        except (BackendHung, BackendLost):
            raise  # the process ends; what the device may still work on is not freed before
        except BaseException:
            self.close()
            raise

    def _prepare(self) -> None:
        self._device.reserve(self._sizes.working)
        self._place = Workplace(self._sizes, self._device, *self._hosts)
        self._recorded = Recordings(
            *(self._kernels, self._commands, self._place),
            *(self._loaded.matrices, self._loaded.vectors),
        )
        self._pace.run([self._recorded.first])
        if self._recorded.samples:
            self._decoding = Decoding(
                *(self._place.one, self._pace, self._recorded),
                lambda: self._read(self.graph.outputs[0], 1)[0],
            )

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        """Recorded steps, where the device can find what decides the draw."""
        if not self._open:
            raise BackendError("this executable is closed")
        self._queue.where = self._place.marks.where
        if self._decoding and decides(sampler):
            yield from self._decoding.tokens(token, start, count, sampler, slot)
        else:
            yield from super().decode(token, start, count, sampler, slot)

    @property
    def graph(self) -> Graph:
        """The graph it was compiled from."""
        return self._sizes.graph

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        """Replay what was recorded for as many tokens; more wanted rows come in blocks."""
        if not self._open:
            raise BackendError("this executable is closed")
        self._queue.where = self._place.marks.where
        wanted = row_indices(rows, len(positions))
        single = len(positions) == 1 and len(wanted) < 2
        frame = self._place.one if single else self._place.many
        most = 1 if single else self._sizes.bucket(max(2, len(positions)))
        fields = {name: value for name, value in inputs.items() if value.ndim == 1}
        self._give(inputs)
        parts: dict[str, list[Array]] = {name: [] for name in self.graph.outputs}
        for start in range(0, max(1, len(wanted)), HEAD_ROWS):
            block = wanted[start : start + HEAD_ROWS]
            frame.set(**fields, positions=positions, slots=slots, rows=block)
            pieces = [self._recorded.setting(frame)]
            if start == 0:
                pieces += self._recorded.section(Shape(False, most), frame)
            if self._sizes.head and len(block):
                shape = Shape(True, 1 if len(block) == 1 else HEAD_ROWS)
                pieces += self._recorded.section(shape, frame)
            self._pace.run(pieces)
            for name in self.graph.outputs:
                if self._plan.of_rows(name):
                    parts[name].append(self._read(name, len(block)))
                elif start == 0:
                    parts[name].append(self._read(name, len(positions)))
        return {name: np.concatenate(found) for name, found in parts.items()}

    def _give(self, inputs: Mapping[str, Array]) -> None:
        for name, region in self._place.inputs.items():
            given = np.ascontiguousarray(inputs[name], np.float32).reshape(-1)
            region.view(np.float32)[: len(given)] = given

    def profile(self, tokens: int, repetitions: int = 20, start: int = 0) -> list[Timing]:
        """Medians of so many runs after an uncounted one, by timestamps around each kernel."""
        if not self._open:
            raise BackendError("this executable is closed")
        if not self._kernels.gpu.nanoseconds:
            raise BackendUnsupported("this device's queue has no timestamps: no profile")
        self._queue.where = self._place.marks.where
        single = tokens == 1
        frame = self._place.one if single else self._place.many
        ids = np.arange(tokens, dtype=np.int32)
        nodes, weights = self.graph.nodes, self.graph.weights
        rows = [weights[n.inputs[1]].shape[0] for n in nodes if n.inputs[0] == "tokens"]
        fields = {"tokens": ids % min(rows)} if rows else {}
        positions, slots = start + ids, np.zeros_like(ids)
        frame.set(**fields, positions=positions, slots=slots, rows=ids[-1:])
        shapes = [Shape(False, 1 if single else self._sizes.bucket(tokens))]
        shapes += [Shape(True, 1)] if self._sizes.head else []
        profile = self._workshop.profile()
        try:
            pieces = self._recorded.profiled(shapes, frame, profile)
            found = []
            for _ in range(repetitions + 1):
                self._pace.run([self._recorded.setting(frame), *pieces])
                found.append(profile.read())
        finally:
            profile.close()
        times = np.median([[end - start for *_, start, end in one] for one in found[1:]], axis=0)
        return [Timing(*one[:2], float(t)) for one, t in zip(found[0], times, strict=True)]

    def _read(self, name: str, rows: int) -> Array:
        width = self._plan.width(name)
        found = self._place.results[name].view(np.float32)[: rows * width]
        copied: Array = found.reshape(rows, width).copy()
        return copied

    def close(self) -> None:
        """Give back what the device holds, once it has finished what is under way."""
        if not self._open:
            return
        self._open = False
        if self._decoding:
            self._decoding.open = False
            self._decoding.finish()
        self._queue.where = nowhere  # the marks' memory is given back, and others wait as well
        self._commands.close()
        for arenas in (self._device, *self._hosts):
            arenas.close()
        self._loaded.close()
