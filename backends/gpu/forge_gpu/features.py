"""What kernels are chosen by."""

from __future__ import annotations

from dataclasses import dataclass

NAMES = ("subgroups", "sizes", "dot", "half", "coopmat", "flow")
"""Arithmetic over a subgroup; a kernel's subgroup size; dot products of four bytes; 16-bit floats;
cooperative matrices; kernels of one token that wait for each other without barriers."""


@dataclass(frozen=True, slots=True)
class Features:
    """Capabilities of a device; each that is absent has a plain path."""

    subgroup: int
    """Invocations of a subgroup, where nothing else is asked for."""
    subgroup_least: int
    subgroup_most: int
    shared_bytes: int
    storage_bytes: int
    """The most that one binding may cover."""
    subgroups: bool = False
    sizes: bool = False
    dot: bool = False
    half: bool = False
    coopmat: bool = False
    flow: bool = False
    counters: bool = False
    """Whether kernels that can wait take counters as their last buffer, be they used or not."""

    def __str__(self) -> str:
        lanes = f"subgroups of {self.subgroup}"
        return ", ".join([lanes, *(name for name in NAMES if getattr(self, name))])
