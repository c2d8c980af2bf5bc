"""What sampling needs of a row of logits, found on the device: the largest, or the k largest."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from forge.backend import Array, BackendWrong
from forge_gpu.memory import Region
from forge_gpu.steps.shape import ceil
from forge_gpu.tape import Activation, Tape

_THREADS = 256
_NAN, _INFINITE, _DIFFERENT = 1, 2, 4
"""Flags of a result, as in shaders/logits.glsl."""
_TOO_LARGE = 1e30
"""For a logit, as forge's sampler has it."""
MOST_CANDIDATES = 256
ROOM = 4096
"""Candidates that a result has room for."""
GREEDY_BYTES = 12
"""Of a greedy result: the id, flags, the logit's bits."""
CANDIDATE_BYTES = 8 * (1 + ROOM)
"""Of a result of candidates: their count, flags; id and bits of each."""


def greedy_scratch_bytes() -> int:
    """Room for what the work groups of `greedy` leave; its first word must be 0 once."""
    return 4 * (1 + 3 * _THREADS)


def greedy(
    tape: Tape,
    logits: Activation,
    result: Region,
    scratch: Region,
    *,
    place: int = 0,
    onward: bool = False,
) -> None:
    """Record the search of the largest logit of the first row, the lowest id of equals.

    The result is written GREEDY_BYTES times `place` from its start. onward: the frame's first token
    becomes the one found, a position further.
    """
    share = max(_THREADS, ceil(logits.width, _THREADS))
    tape.run(
        "greedy",
        [tape.frame, logits.region, scratch, result],
        (ceil(logits.width, share), 1, 1),
        writes=[0, 2, 3] if onward else [2, 3],
        push=struct.pack("IIII", logits.width, share, int(onward), 3 * place),
        constants=(_THREADS, 1),
    )


def greedy_token(result: Array, place: int = 0) -> int:
    """The token of a result (bytes); BackendWrong for logits that no model makes."""
    token, flags, _ = result.view(np.uint32)[3 * place : 3 * place + 3].tolist()
    _check(flags, result.view(np.float32)[3 * place + 2])
    return int(token)


def greedy_logit(result: Array, place: int = 0) -> float:
    """The logit of a result's token."""
    return float(result.view(np.float32)[3 * place + 2])


def candidates_scratch_bytes(width: int) -> int:
    """Room for the largest of each block; its first four words must be 0 once."""
    return 4 * (4 + _blocks(width, MOST_CANDIDATES)[1])


def candidates(
    tape: Tape, logits: Activation, result: Region, scratch: Region, *, wanted: int
) -> None:
    """Record the search of the `wanted` largest logits of the first row, and some more."""
    if not 0 < wanted <= MOST_CANDIDATES:
        raise ValueError(f"{wanted} candidates; allowed are 1 to {MOST_CANDIDATES}")
    size, blocks = _blocks(logits.width, wanted)
    tape.run(
        "candidates_bar",
        [logits.region, scratch, result],
        (ceil(blocks, _THREADS), 1, 1),
        writes=[1, 2],
        push=struct.pack("IIII", logits.width, size, blocks, min(wanted, blocks)),
        constants=(_THREADS, 1),
    )
    tape.run(
        "candidates",
        [logits.region, scratch, result],
        (ceil(logits.width, _THREADS), 1, 1),
        writes=[1, 2],
        push=struct.pack("II", logits.width, ROOM),
        constants=(_THREADS, 1),
    )


@dataclass(frozen=True, slots=True)
class Candidates:
    """Token ids, ascending, and their logits."""

    ids: Array
    logits: Array


def found_candidates(result: Array) -> Candidates | None:
    """What a result (bytes) holds; None where more qualified than it has room for.

    BackendWrong for logits that no model makes.
    """
    words = result.view(np.uint32)
    count, flags = words[:2].tolist()
    if count > ROOM:
        _check(flags, 0.0)
        return None
    ids = words[2 : 2 + 2 * count : 2]
    order = np.argsort(ids)
    values = result.view(np.float32)[3 : 3 + 2 * count : 2][order]
    _check(flags, values.max(initial=-np.inf))
    return Candidates(ids[order].astype(np.int64), values)


def _check(flags: int, largest: float) -> None:
    for flag, what in ((_NAN, "nan"), (_INFINITE, "inf")):
        if flags & flag:
            raise BackendWrong(f"the backend computed {what} as one of its logits")
    if not flags & _DIFFERENT:
        raise BackendWrong(f"the backend computed {largest} as every one of its logits")
    if largest >= _TOO_LARGE:
        raise BackendWrong(f"the backend computed {largest} as one of its logits")


def _blocks(width: int, wanted: int) -> tuple[int, int]:
    """Size and number of blocks: several times as many as candidates are wanted."""
    size = 64
    while size > 1 and ceil(width, size) < 4 * wanted:
        size //= 2
    return size, ceil(width, size)
