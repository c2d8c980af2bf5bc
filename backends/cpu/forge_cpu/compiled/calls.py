"""Calls of kernels with what they read and write, so that threads wait only where they must."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forge_cpu.program import Argument, Program


@dataclass(frozen=True, slots=True)
class Call:
    """A kernel, its arguments, and the memory that its threads share, by address."""

    kernel: str
    arguments: tuple[Argument, ...]
    reads: frozenset[int]
    writes: frozenset[int]


def write(calls: Sequence[Call], program: Program) -> None:
    """Append the calls; all wait behind one where the next depends on one since the last wait.

    Dependent are a read of what was written, a write to what was read, and a second write.
    """
    read: frozenset[int] = frozenset()
    written: frozenset[int] = frozenset()
    for index, call in enumerate(calls):
        read, written = read | call.reads, written | call.writes
        wait = True
        if index + 1 < len(calls):
            after = calls[index + 1]
            wait = bool(written & (after.reads | after.writes) or read & after.writes)
        program.add(call.kernel, *call.arguments, wait=wait)
        if wait:
            read = written = frozenset()
