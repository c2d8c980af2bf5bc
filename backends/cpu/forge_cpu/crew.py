"""The threads that run programs, asleep in between."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

import numpy as np

from forge.backend import Array
from forge_cpu.cores import default_threads
from forge_cpu.library import Library
from forge_cpu.program import Program

_WORDS_PER_LINE = 8
# Indices of the words in the shared block; forge_cpu.kernels.crew has their offsets.
_GENERATION, _ARRIVED, _PHASE, _STEPS, _COUNT, _STOP, _TIMES, _SEMAPHORES = range(
    0, 8 * _WORDS_PER_LINE, _WORDS_PER_LINE
)
_ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
_JOIN_SECONDS = 10.0


class Crew:
    """Owns its threads: the caller is one of them, so of one there is none to start."""

    def __init__(self, library: Library, threads: int | None = None) -> None:
        self._library = library
        self._run = _ENTRY(library.address("crew.run"))
        self._work = _ENTRY(library.address("crew.work"))
        self._c = ctypes.CDLL(None)
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._shared = _shared(1)
        self.size = 0
        self.resize(threads or default_threads())

    def run(self, program: Program) -> None:
        """Every step of the program, on all threads; returns when the last one is done."""
        self._walk(self._run, program)

    def profile(self, program: Program) -> Array:
        """Run it; the clock as int64 [steps, 3]: a step begins, its first thread is done, all are.

        In units of the processor's own; for finding out where time goes.
        """
        times = np.zeros((len(program.table), 3), np.int64)
        self._shared[_TIMES] = times.ctypes.data
        self._walk(_ENTRY(self._library.address("crew.run_timed")), program)
        return times

    def _walk(self, entry: Callable[[int, int, int], None], program: Program) -> None:
        table = program.table
        with self._lock:
            if not self.size:
                raise RuntimeError("the crew is closed")
            if program.threads not in (None, self.size):
                raise ValueError(f"a program for {program.threads} threads, run by {self.size}")
            self._shared[_STEPS], self._shared[_COUNT] = table.ctypes.data, len(table)
            entry(self._shared.ctypes.data, 0, self.size)

    def resize(self, threads: int) -> None:
        """Run the next programs on another number of threads."""
        if threads < 1:
            raise ValueError(f"a crew of {threads} threads")
        with self._lock:
            if threads == self.size:
                return
            self._dismiss()
            self._shared = _shared(threads)
            base = self._shared.ctypes.data
            for number in range(1, threads):
                self._c.sem_init(ctypes.c_void_p(self._semaphore(number)), 0, 0)
                thread = threading.Thread(
                    target=self._work, args=(base, number, threads), name=f"forge-cpu-{number}"
                )
                thread.daemon = True  # asleep in C: an interpreter that ends need not wait
                self._threads.append(thread)
                thread.start()
            self.size = threads

    def close(self) -> None:
        """End the threads; called once more does nothing."""
        with self._lock:
            self._dismiss()

    def _dismiss(self) -> None:
        self._shared[_STOP] = 1
        for number in range(1, len(self._threads) + 1):
            self._c.sem_post(ctypes.c_void_p(self._semaphore(number)))
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
        self._threads = []
        self.size = 0

    def _semaphore(self, thread: int) -> int:
        return self._shared.ctypes.data + 8 * (_SEMAPHORES + thread * _WORDS_PER_LINE)


def _shared(threads: int) -> Array:
    """The block that the threads meet in, on cache lines of its own."""
    words = _SEMAPHORES + (threads + 1) * _WORDS_PER_LINE
    block = np.zeros(words + _WORDS_PER_LINE, np.int64)
    start = -block.ctypes.data // 8 % _WORDS_PER_LINE
    return block[start : start + words]
