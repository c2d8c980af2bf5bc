"""A graph's work as a list of calls, which a crew runs without Python in between."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from forge.backend import Array
from forge_cpu.library import Library

Argument: TypeAlias = "int | float | Array"


class Program:
    """Steps in order: a kernel and its arguments. Keeps alive what they point to."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._kept: list[Array] = []
        self._blocks: list[Array] = []
        self._steps: list[tuple[int, int, int]] = []
        self._names: list[str] = []
        self._table: Array | None = None

    def add(self, kernel: str, *arguments: Argument, wait: bool = True) -> Array:
        """Append a call of "module.function"; returns its argument block, int64 [arguments].

        An array is passed as its address and must be contiguous; a float as the bits of a
        float64. Without `wait` a thread goes on to the next step before the others are done.
        """
        block = np.array([self._word(argument) for argument in arguments], np.int64)
        self._blocks.append(block)
        self._steps.append((self._library.address(kernel), block.ctypes.data, int(wait)))
        self._names.append(kernel)
        self._table = None
        return block

    @property
    def kernels(self) -> tuple[str, ...]:
        """The name of each step's kernel."""
        return tuple(self._names)

    @property
    def table(self) -> Array:
        """int64 [steps, 3]: function, arguments, whether all wait behind it."""
        if self._table is None:
            self._table = np.array(self._steps, np.int64).reshape(-1, 3)
            self._table[-1:, 2] = 0  # a run ends with a wait anyway
        return self._table

    def _word(self, argument: Argument) -> int:
        if isinstance(argument, np.ndarray):
            if not argument.flags.c_contiguous:
                raise ValueError(f"an argument of shape {argument.shape} is not contiguous")
            self._kept.append(argument)
            return argument.ctypes.data
        if isinstance(argument, float):
            return int(np.float64(argument).view(np.int64))
        return int(argument)
