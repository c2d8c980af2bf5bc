"""The names of what can go wrong with a backend, and of the phases in which it can."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Fault: TypeAlias = Literal[
    "hang",
    "busy-hang",
    "die",
    "exit",
    "abort",
    "segfault",
    "exception",
    "oom",
    "lost",
    "slow",
    "nan",
    "constant",
    "wrong",
]
Subtle: TypeAlias = Literal[
    "few-nan",
    "two-values",
    "stale",
    "stale-keep",
    "repeat",
    "few",
    "many",
    "outside",
]
Where: TypeAlias = Literal["start", "open", "load", "compile", "check", "prefill", "decode"]
FAULTS: tuple[Fault, ...] = get_args(Fault)
SUBTLE: tuple[Subtle, ...] = get_args(Subtle)
PHASES: tuple[Where, ...] = get_args(Where)
NO_DRIVER = "no-driver"
"""What a plugin may declare beside the faults: a machine on which its driver is not there."""
