"""A device on which tests record kernels and run them, on arrays that are guarded."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from forge.backend import Array
from forge_gpu.memory import Region
from forge_gpu.tape import CHUNK, HEADER, REACH, ROWS, TOKENS, Activation, Tape
from forge_vulkan.runtime.device import Gpu
from forge_vulkan.runtime.features import WITHOUT
from forge_vulkan.runtime.instance import Instance
from forge_vulkan.runtime.kernels import Kernels
from forge_vulkan.runtime.memory import Arenas
from forge_vulkan.runtime.recording import Commands, Recording
from forge_vulkan.runtime.submission import Queue

ROOM = 64
"""Tokens of a run, at most."""
_GUARD = 256


class Stage:
    """Owns the device; arrays live until `clear`."""

    def __init__(self, without: str = "") -> None:
        self.instance = Instance()
        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(WITHOUT, without)
                self.gpu = Gpu(self.instance.listed[0])
        except BaseException:
            self.instance.close()
            raise
        self.kernels, self.queue = Kernels(self.gpu), Queue(self.gpu, limit=30)
        self._start()

    def _start(self) -> None:
        self.arenas = Arenas(self.gpu, "download", 32 << 20)
        self.commands = Commands(self.gpu)
        self._guards: list[Region] = []
        self.frame = self.room(4 * (HEADER + 4 * ROOM))

    def clear(self) -> None:
        """Forget all arrays; none of them may have been written past its end."""
        spoiled = [region for region in self._guards if (region.view() != 0xA5).any()]
        self.commands.close()
        self.arenas.close()
        self._start()
        assert not spoiled, "a kernel wrote past the end of an array"

    def close(self) -> None:
        self.commands.close()
        self.arenas.close()
        self.queue.close()
        self.kernels.close()
        self.gpu.close()
        self.instance.close()

    def room(self, size: int) -> Region:
        """Bytes of nonsense: NaN as floats, also in half precision."""
        whole = self.arenas.region(-(-size // 256) * 256 + _GUARD)
        whole.view()[:] = 0xFF
        guard = whole.part(whole.size - _GUARD, _GUARD)
        guard.view()[:] = 0xA5
        self._guards.append(guard)
        return whole.part(0, size)

    def array(self, values: Array) -> Region:
        """Those numbers in float32."""
        numbers = np.ascontiguousarray(values, np.float32)
        region = self.room(numbers.nbytes)
        region.view(np.float32)[:] = numbers.ravel()
        return region

    def activation(self, values: Array, counter: int = TOKENS, most: int = ROOM) -> Activation:
        """Rows for `most` tokens; those past `values` are NaN."""
        made = self.rows(values.shape[1], counter, most)
        made.region.view(np.float32)[: values.size] = values.astype(np.float32).ravel()
        return made

    def rows(self, width: int, counter: int = TOKENS, most: int = ROOM) -> Activation:
        """Rows to be written."""
        return Activation(self.room(4 * most * width), width, counter, most)

    def set(
        self,
        count: int,
        positions: Sequence[int] = (),
        slots: Sequence[int] = (),
        rows: Sequence[int] = (),
    ) -> None:
        """What the next run's frame says."""
        words = self.frame.view(np.int32)
        words[TOKENS], words[ROWS], words[CHUNK] = count, len(rows), ROOM
        words[REACH] = max(positions, default=0) + 1
        for index, values in enumerate(((), positions, slots or [0] * count, rows)):
            start = HEADER + index * ROOM
            words[start : start + ROOM] = -1
            words[start : start + len(values)] = values

    def record(self, write: Callable[[Tape], None]) -> object:
        """A recording, to be run as often as one likes."""
        recording = Recording(self.commands)
        write(Tape(self.kernels, self.frame, recording))
        return recording.end()

    def run(self, count: int, write: Callable[[Tape], None], **frame: Sequence[int]) -> None:
        """Record, and run once with so many tokens."""
        self.set(count, **frame)
        self.queue.run([self.record(write)])


def read(activation: Activation, count: int) -> Array:
    """The rows that count; those behind them must still be untouched."""
    whole = activation.region.view(np.float32).reshape(activation.most, activation.width)
    assert (whole[count:].view(np.uint32) == 0xFFFFFFFF).all(), "rows past the last were written"
    return np.array(whole[:count])


def error(found: Array, truth: Array) -> float:
    """Normalised mean square error, as forge.testing has it; shapes and infinities must agree."""
    assert found.shape == truth.shape
    assert (np.isfinite(found) == np.isfinite(truth)).all()
    good = np.isfinite(truth)
    off = np.square(found[good].astype(np.float64) - truth[good]).sum()
    return float(off / (np.square(truth[good].astype(np.float64)).sum() or 1.0))
