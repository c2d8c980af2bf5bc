"""A program's activations: float32 values, quantised lines, tables of angles."""

from __future__ import annotations

import math
from collections.abc import Set

import numpy as np

from forge.backend import Array
from forge_cpu.compiled.buffers import buffers
from forge_cpu.compiled.shared import Shared
from forge_cpu.formats import BLOCK, LINE
from forge_cpu.kv import lazy_bytes
from forge_cpu.program import PerThread

OWN_LINES = 4096
"""Columns up to which each thread quantises for itself: it takes as long as a wait."""


class Memory:
    """Owns them, for runs of up to `chunk` tokens.

    Values in `own` are made by each thread for itself: nobody waits for them.
    """

    def __init__(self, shared: Shared, chunk: int, own: Set[str] | None = None) -> None:
        self.shared = shared
        self._chunk, self._single = chunk, own is not None
        self.values: dict[str, Array | PerThread] = {}
        made = {step.out for step in shared.steps}
        own = made & (own or set())
        for name, (only,) in self._place(made - own, 1).items():
            self.values[name] = only
        for name, each in self._place(own, shared.threads).items():
            self.values[name] = PerThread(each)
        for name in shared.graph.inputs:
            if name not in shared.inputs:
                shape = chunk, shared.width(name)
                self.values[name] = lazy_bytes(4 * math.prod(shape)).view(np.float32).reshape(shape)
        self._lines: dict[int, Array | PerThread] = {}
        self._angles: dict[object, Array | PerThread] = {}

    def operand(self, name: str) -> Array | PerThread:
        """An activation, or a weight of one row."""
        return self.shared.vector(name) if name in self.shared.weights else self.values[name]

    def lines(self, width: int) -> Array | PerThread:
        """Room for activations as int8 in blocks."""
        if width not in self._lines:
            size = self._chunk * (width // BLOCK) * LINE
            own = self._single and width <= OWN_LINES
            self._lines[width] = self._each(size) if own else lazy_bytes(size)
        return self._lines[width]

    def angles(self, frequencies: tuple[float, ...], magnitude: float) -> Array | PerThread:
        """Room for the cosines and sines of each token, [tokens, 2, pairs]."""
        key = frequencies, magnitude
        if key not in self._angles:
            shape = self._chunk, 2, len(frequencies)
            size = 4 * math.prod(shape)
            rooms = self._each(size).each if self._single else (lazy_bytes(size),)
            tables = tuple(room.view(np.float32).reshape(shape) for room in rooms)
            self._angles[key] = PerThread(tables) if self._single else tables[0]
        return self._angles[key]

    def output(self, name: str) -> Array:
        """A value as the caller reads it."""
        value = self.values[name]
        return value.each[0] if isinstance(value, PerThread) else value

    def _place(self, names: Set[str], copies: int) -> dict[str, tuple[Array, ...]]:
        """Memory for so many copies of each; values that do not live at the same time share it."""
        shapes = {name: (self._chunk, self.shared.width(name)) for name in names}
        apart = {name: _up(4 * math.prod(shape)) for name, shape in shapes.items()}
        sizes = {name: copies * size for name, size in apart.items()}
        rooms = buffers(self.shared.steps, sizes, self.shared.graph.outputs)
        return {
            name: tuple(
                room[copy * apart[name] :][: 4 * math.prod(shapes[name])]
                .view(np.float32)
                .reshape(shapes[name])
                for copy in range(copies)
            )
            for name, room in rooms.items()
        }

    def _each(self, size: int) -> PerThread:
        return PerThread(tuple(lazy_bytes(size) for _ in range(self.shared.threads)))


def _up(size: int) -> int:
    """In whole cache lines."""
    return -(-size // LINE) * LINE
