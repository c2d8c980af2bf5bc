"""A graph's work as a list of calls, which a crew runs without Python in between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from forge.backend import Array
from forge_cpu.library import Library


@dataclass(frozen=True, slots=True, eq=False)
class PerThread:
    """Arrays of one shape, one for each thread: a call on a thread is given that thread's own."""

    each: tuple[Array, ...]

    @property
    def ndim(self) -> int:
        """Dimensions of one thread's array."""
        return self.each[0].ndim

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one thread's array."""
        return self.each[0].shape

    @property
    def strides(self) -> tuple[int, ...]:
        """Of one thread's array, in bytes."""
        return self.each[0].strides


Argument: TypeAlias = "int | float | Array | PerThread"


class Program:
    """Steps in order: a kernel and its arguments. Keeps alive what they point to."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._kept: list[Array] = []
        self._blocks: list[Array] = []
        self._steps: list[tuple[int, int, int, int, int]] = []
        self._names: list[str] = []
        self._table: Array | None = None
        self.threads: int | None = None
        """Of the crew that it is written for; any where no argument is a thread's own."""

    def add(
        self, kernel: str, *arguments: Argument, wait: bool = True, alone: bool = False
    ) -> Array:
        """Append a call of "module.function"; returns its argument block, int64 [arguments].

        An array is passed as its address and must be contiguous; a float as the bits of a
        float64. Where some are a thread's own, blocks are int64 [threads, arguments]. Without
        `wait` a thread goes on to the next step before the others are done. `alone` has every
        thread do all of the work, as if there were no other.
        """
        own = {len(a.each) for a in arguments if isinstance(a, PerThread)}
        crews = {n for n in (*own, self.threads) if n}
        if len(crews) > 1:
            raise ValueError(f"{kernel}: arrays for {sorted(crews)} threads in one program")
        words = [0 if isinstance(a, PerThread) else self._word(a) for a in arguments]
        block = np.array(words, np.int64)
        for self.threads in own:
            block = np.tile(block, (self.threads, 1))
            for column, argument in enumerate(arguments):
                if isinstance(argument, PerThread):
                    block[:, column] = [self._word(array) for array in argument.each]
        self._blocks.append(block)
        apart = block.strides[0] if own else 0
        address = self._library.address(kernel)
        self._steps.append((address, block.ctypes.data, apart, int(alone), int(wait)))
        self._names.append(kernel)
        self._table = None
        return block

    @property
    def kernels(self) -> tuple[str, ...]:
        """The name of each step's kernel."""
        return tuple(self._names)

    @property
    def blocks(self) -> tuple[Array, ...]:
        """The arguments of each step: int64 [arguments], or [threads, arguments]."""
        return tuple(self._blocks)

    @property
    def table(self) -> Array:
        """int64 [steps, 5]: function, arguments, bytes between the threads' arguments, whether
        each thread does all of it, whether all wait behind it."""
        if self._table is None:
            self._table = np.array(self._steps, np.int64).reshape(-1, 5)
            self._table[-1:, 4] = 0  # a run ends with a wait anyway
        return self._table

    def _word(self, argument: int | float | Array) -> int:
        if isinstance(argument, np.ndarray):
            if not argument.flags.c_contiguous:
                raise ValueError(f"an argument of shape {argument.shape} is not contiguous")
            self._kept.append(argument)
            return argument.ctypes.data
        if isinstance(argument, float):
            return int(np.float64(argument).view(np.int64))
        return int(argument)
