"""The interpreter: threads walk through a program's steps together.

`shared` is one block of int64 words, each of the first six on a cache line of its own.
"""

from __future__ import annotations

from numba import njit

from forge_cpu.kernels.atomics import (
    atomic_add,
    atomic_load,
    atomic_store,
    call_kernel,
    pause,
    sched_yield,
    sem_post,
    sem_wait,
)
from forge_cpu.kernels.kernel import kernel
from forge_cpu.kernels.pointers import address_of, i64

# Byte offsets of the words; forge_cpu.crew has the same.
_GENERATION, _ARRIVED, _PHASE, _STEPS, _COUNT, _STOP, _SEMAPHORES = range(0, 7 * 64, 64)
_LINE = 64

_PAUSES = 200
"""A few microseconds, after which a waiting thread offers its core to others at every look: on a
busy machine the one it waits for may be without a core."""
_AWAKE = 500
"""Looks for the next program before a thread sleeps: too short for a meter to see."""


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


@njit
def _walk(shared, thread, threads):
    """Every step, in order: function, argument block, whether all wait behind it."""
    steps = i64(i64(shared + _STEPS)[0])
    for step in range(i64(shared + _COUNT)[0]):
        call_kernel(steps[3 * step], steps[3 * step + 1], thread, threads)
        if threads > 1 and steps[3 * step + 2]:
            _barrier(shared, threads)


@kernel
def run(words, thread, threads):
    """The calling thread's part: wake the others, and walk as thread 0."""
    shared = address_of(words)
    if threads > 1:
        atomic_add(shared + _GENERATION, 1)
        for other in range(1, threads):
            sem_post(shared + _SEMAPHORES + other * _LINE)
    _walk(shared, 0, threads)
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
