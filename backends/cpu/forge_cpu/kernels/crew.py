"""The interpreter: threads walk through a program's steps together.

`shared` is one block of int64 words, each of the first seven on a cache line of its own.
"""

from __future__ import annotations

from numba import njit

from forge_cpu.kernels.atomics import (
    atomic_add,
    atomic_load,
    atomic_store,
    call_kernel,
    cycles,
    pause,
    sched_yield,
    sem_post,
    sem_wait,
)
from forge_cpu.kernels.kernel import kernel
from forge_cpu.kernels.pointers import address_of, i64

# Byte offsets of the words; forge_cpu.crew has the same.
_GENERATION, _ARRIVED, _PHASE, _STEPS, _COUNT, _STOP, _TIMES, _SEMAPHORES = range(0, 8 * 64, 64)
_LINE = 64
# Words of a step, as forge_cpu.program has them.
_FUNCTION, _ARGUMENTS, _APART, _ALONE, _WAIT = range(5)
_STEP = 8 * 5

_PAUSES = 500
"""Some 15 microseconds, longer than most waits for a thread that runs. After that a waiting thread
offers its core to others at every look: the one it waits for may be without a core."""
_AWAKE = 10_000
"""Looks for the next program before a thread sleeps, some 200 microseconds: between two tokens it
stays awake, as waking takes half as long."""


@njit
def _barrier(shared, threads):
    """Wait until all threads are here; the last one lets them go."""
    phase = atomic_load(shared + _PHASE)
    if atomic_add(shared + _ARRIVED, 1) == threads - 1:
        atomic_store(shared + _ARRIVED, 0)
        atomic_store(shared + _PHASE, phase + 1)
        return
    spins = 0
    while atomic_load(shared + _PHASE) == phase:
        spins += 1
        if spins < _PAUSES:
            pause()
        else:
            sched_yield()


@njit(inline="always")
def _call(address, thread, threads):
    """A step: with its share of the work, or all of it where each thread works alone."""
    step = i64(address)
    if step[_ALONE]:
        call_kernel(step[_FUNCTION], step[_ARGUMENTS] + thread * step[_APART], 0, 1)
    else:
        call_kernel(step[_FUNCTION], step[_ARGUMENTS] + thread * step[_APART], thread, threads)


@njit
def _walk(shared, thread, threads):
    """Every step, in order, waiting where the table says so."""
    table = i64(shared + _STEPS)[0]
    for step in range(i64(shared + _COUNT)[0]):
        _call(table + step * _STEP, thread, threads)
        if threads > 1 and i64(table + step * _STEP)[_WAIT]:
            _barrier(shared, threads)


@njit
def _wake(shared, threads):
    """A new program is there."""
    if threads > 1:
        atomic_add(shared + _GENERATION, 1)
        for other in range(1, threads):
            sem_post(shared + _SEMAPHORES + other * _LINE)


@kernel
def run(words, thread, threads):
    """The calling thread's part: wake the others, and walk as thread 0."""
    shared = address_of(words)
    _wake(shared, threads)
    _walk(shared, 0, threads)
    if threads > 1:
        _barrier(shared, threads)


@njit
def _walk_timed(shared, threads):
    """As thread 0, noting when each step begins, when this thread is done, and when all are."""
    table, times = i64(shared + _STEPS)[0], i64(i64(shared + _TIMES)[0])
    for step in range(i64(shared + _COUNT)[0]):
        times[3 * step] = cycles()
        _call(table + step * _STEP, 0, threads)
        times[3 * step + 1] = cycles()
        if threads > 1 and i64(table + step * _STEP)[_WAIT]:
            _barrier(shared, threads)
        times[3 * step + 2] = cycles()


@kernel
def run_timed(words, thread, threads):
    """`run`, with the processor's clock in int64 [steps, 3]."""
    shared = address_of(words)
    _wake(shared, threads)
    _walk_timed(shared, threads)
    if threads > 1:
        _barrier(shared, threads)


@kernel
def work(words, thread, threads):
    """Another thread's life: sleep, walk, sleep, until told to stop."""
    shared = address_of(words)
    seen = 0
    while True:
        looks = 0
        while atomic_load(shared + _GENERATION) == seen and looks < _AWAKE:
            pause()
            looks += 1
        while sem_wait(shared + _SEMAPHORES + thread * _LINE) != 0:
            pass  # a signal woke it
        seen += 1
        if atomic_load(shared + _STOP):
            return
        _walk(shared, thread, threads)
        _barrier(shared, threads)
