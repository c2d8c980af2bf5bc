"""Calls of kernels with what they read and write, so that threads wait only where they must."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from forge.backend import Array
from forge_cpu.library import Library
from forge_cpu.program import Argument, PerThread, Program


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel, its arguments, and the memory that its threads share, by address."""

    kernel: str
    arguments: tuple[Argument, ...]
    reads: frozenset[int]
    writes: frozenset[int]
    alone: bool
    """Each thread does all of it, for itself."""


class Recorder(Program):
    """Collects calls; `program` is made of them once all are known."""

    def __init__(self, library: Library) -> None:
        super().__init__(library)
        self._libraries = library
        self._calls: list[Call] = []
        self._reads: frozenset[int] = frozenset()
        self._writes: frozenset[int] = frozenset()
        self._alone = False

    @contextmanager
    def touching(
        self, reads: Sequence[Array | PerThread], writes: Sequence[Array | PerThread]
    ) -> Iterator[None]:
        """What the calls inside read and write, all that other calls may write or read.

        Where all that is written is each thread's own, each does the work for itself.
        """
        self._reads, self._writes = (
            frozenset(array.ctypes.data for array in arrays if not isinstance(array, PerThread))
            for arrays in (reads, writes)
        )
        self._alone = all(isinstance(array, PerThread) for array in writes)
        yield

    def add(
        self, kernel: str, *arguments: Argument, wait: bool = True, alone: bool = False
    ) -> Array:
        """Note a call; who does it and whether all wait behind it follows from what it touches."""
        del wait, alone
        self._calls.append(Call(kernel, arguments, self._reads, self._writes, self._alone))
        return np.empty(0, np.int64)

    @property
    def kernels(self) -> tuple[str, ...]:
        """The name of each call's kernel."""
        return tuple(call.kernel for call in self._calls)

    def program(self) -> Program:
        """The calls; all wait behind one where the next depends on one since the last wait.

        Dependent are a read of what was written, a write to what was read, and a second write.
        """
        made = Program(self._libraries)
        read: frozenset[int] = frozenset()
        written: frozenset[int] = frozenset()
        for index, call in enumerate(self._calls):
            read, written = read | call.reads, written | call.writes
            wait = True
            if index + 1 < len(self._calls):
                after = self._calls[index + 1]
                wait = bool(written & (after.reads | after.writes) or read & after.writes)
            made.add(call.kernel, *call.arguments, wait=wait, alone=call.alone)
            if wait:
                read = written = frozenset()
        return made
