"""Sizes that steps agree on: lanes of a subgroup, threads and counts of work groups."""

from __future__ import annotations

from forge_gpu.features import Features
from forge_gpu.tape import Tape

PREFERRED_LANES = 32
"""What every GPU has but some of Intel's and older ones of AMD."""
_SUBGROUPS = 32
"""Of a work group, where their size is asked for: no driver is known that takes fewer."""


def lanes(features: Features) -> int:
    """The size of subgroups that kernels ask for; 0 where they do without."""
    if not features.subgroups:
        return 0
    if features.subgroup_least <= PREFERRED_LANES <= features.subgroup_most:
        return PREFERRED_LANES
    return features.subgroup


def threads(tape: Tape, wanted: int, most: int = 512) -> int:
    """A power of two of invocations, no fewer than a subgroup: about as many as are wanted."""
    subgroup = lanes(tape.features)
    most = min(most, tape.gpu.group_threads, _SUBGROUPS * subgroup or most)
    size = max(32, subgroup)
    while size < wanted and 2 * size <= most:
        size *= 2
    return size


def ceil(total: int, part: int) -> int:
    """How many parts hold the total."""
    return -(-total // part)
