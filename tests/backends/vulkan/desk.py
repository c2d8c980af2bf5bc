"""A device on which tests run single kernels over arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.backends.stored import planes_of

from forge.backend import Array
from forge_gpu.formats import FORMATS
from forge_gpu.matrices import Matrix, Part
from forge_gpu.memory import Region
from forge_gpu.tape import CHUNK, HEADER, REACH, ROWS, TOKENS, Activation, Tape
from forge_vulkan.runtime.device import Gpu
from forge_vulkan.runtime.features import WITHOUT
from forge_vulkan.runtime.instance import Instance
from forge_vulkan.runtime.kernels import Kernels
from forge_vulkan.runtime.memory import Arenas
from forge_vulkan.runtime.recording import Commands, Recording
from forge_vulkan.runtime.submission import Queue

CHUNK_TOKENS = 256
GUARD = 64
"""Bytes behind every array that nothing may write."""


class Desk:
    """Owns the device; arrays live until `clear`."""

    def __init__(self, device: str = "0", without: str = "") -> None:
        """`device`: its index, or a part of its name."""
        self.instance = Instance()
        known = enumerate(self.instance.listed)
        listed = next(one for i, one in known if device == str(i) or device in one.device.name)
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(WITHOUT, without)
                self.gpu = Gpu(listed)
        except BaseException:
            self.instance.close()
            raise
        self.kernels, self.queue = Kernels(self.gpu), Queue(self.gpu, limit=30)
        self.frame = self._start()

    def _start(self) -> Region:
        self.arenas, self.commands = Arenas(self.gpu, "download", 64 << 20), Commands(self.gpu)
        self._guarded: list[Region] = []
        return self.arenas.region(4 * (HEADER + 4 * CHUNK_TOKENS))

    def clear(self) -> None:
        """Forget all arrays; none of them may have been written past its end."""
        spoiled = [r for r in self._guarded if (r.view(np.uint8) != 0xA5).any()]
        self.commands.close()
        self.arenas.close()
        self.frame = self._start()
        assert not spoiled, "a kernel wrote past the end of an array"

    def close(self) -> None:
        self.commands.close()
        self.arenas.close()
        self.queue.close()
        self.kernels.close()
        self.gpu.close()
        self.instance.close()

    def room(self, size: int) -> Region:
        """Bytes of nonsense: NaN as floats."""
        whole = self.arenas.region(size + GUARD)
        region, guard = whole.part(0, size), whole.part(size, GUARD)
        region.view(np.uint8)[:] = 0xFF
        guard.view(np.uint8)[:] = 0xA5
        self._guarded.append(guard)
        return region

    def array(self, values: Array) -> Region:
        """Those bytes."""
        region = self.room(values.nbytes)
        region.view(np.uint8)[:] = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        return region

    def matrix(
        self, kind: str, raw: Array, k: int, splits: tuple[int, ...] = (0,), experts: int = 1
    ) -> Matrix:
        """Rows of blocks as a matrix whose parts begin at the rows `splits`."""
        parts = []
        for first, stop in zip(splits, (*splits[1:], len(raw)), strict=True):
            layout = FORMATS[kind].layout(stop - first, k)
            region = self.array(planes_of(kind, raw[first:stop], k))
            parts.append(Part(region, first, stop - first, layout.starts))
        return Matrix(kind, len(raw), k, tuple(parts), experts)

    def together(self, *matrices: Matrix) -> list[Matrix]:
        """The same matrices, of one part each, in one region."""
        parts = [matrix.parts[0] for matrix in matrices]
        region = self.array(np.concatenate([part.region.view(np.uint8) for part in parts]))
        made, base = [], 0
        for matrix, part in zip(matrices, parts, strict=True):
            planes = tuple(base // 16 + at for at in part.planes)
            made.append(replace(matrix, parts=(Part(region, 0, part.rows, planes),)))
            base += part.region.size
        return made

    def activation(self, values: Array, most: int = CHUNK_TOKENS) -> Activation:
        """Rows for `most` tokens, of which those of `values` count; the others are NaN."""
        region = self.room(4 * most * values.shape[1])
        region.view(np.float32)[: values.size] = values.ravel()
        return Activation(region, values.shape[1], TOKENS, most)

    def nothing(self, width: int, most: int = CHUNK_TOKENS) -> Activation:
        """Rows to be written."""
        return Activation(self.room(4 * most * width), width, TOKENS, most)

    def run(self, count: int, write: Callable[[Tape], None], ids: Array | None = None) -> None:
        """Record, and run once with so many tokens."""
        words = self.frame.view(np.uint32)
        words[TOKENS] = words[ROWS] = words[REACH] = count
        words[CHUNK] = CHUNK_TOKENS
        if ids is not None:
            words[HEADER : HEADER + len(ids)] = ids
        self.record(lambda recording: write(Tape(self.kernels, self.frame, recording)))

    def record(self, write: Callable[[Recording], None]) -> None:
        """Record, and run once."""
        recording = Recording(self.commands)
        write(recording)
        self.queue.run([recording.end()])


def rows_of(activation: Activation, count: int) -> NDArray[np.float32]:
    """The first rows, after which nothing may have been written."""
    whole = activation.region.view(np.float32).reshape(activation.most, activation.width)
    untouched = whole[count:].view(np.uint32)
    assert (untouched == 0xFFFFFFFF).all(), "rows that do not count were written"
    return np.array(whole[:count])
