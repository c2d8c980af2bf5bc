"""Attention of one token: rope, append and the keys split among work groups, in one kernel."""

from __future__ import annotations

import struct

from forge_gpu.kv import Cache
from forge_gpu.memory import Region
from forge_gpu.steps.attention import NO_ROTATION, Heads, Rotation
from forge_gpu.steps.products import Coded
from forge_gpu.steps.shape import ceil, lanes
from forge_gpu.tape import FIELDS, HEADER, Activation, Tape

_THREADS = 256
_QUERY_FLOATS = 1024
"""Of the queries in shared memory, at most, and of what a work group finds: four a thread."""
_TILE = 32
"""Keys at a time, and the shortest share: a subgroup of the usual size."""
MOST_SPLITS = 64
"""As in shaders/attention_decode.comp."""


def splits(compute_units: int, shape: Heads, capacity: int) -> int:
    """Into how many shares to split the keys: three work groups for each compute unit."""
    rows = shape.kv_heads * ceil(shape.group, _heads(shape))
    return max(1, min(3 * compute_units // rows, capacity // _TILE, MOST_SPLITS))


def scratch_bytes(shape: Heads, shares: int) -> int:
    """What the work groups leave for the last of them. The region's first words must be 0 once."""
    heads = _heads(shape)
    rows = shape.kv_heads * ceil(shape.group, heads)
    found = 16 * heads * ceil(shape.value_size, 4) + 8 * heads
    return 16 * ceil(rows, 4) + rows * shares * found


def codable(shape: Heads) -> bool:
    """Whether the row can go out as int8: whole groups of 16 columns in each head."""
    return shape.value_size % 16 == 0


def attention_decode(
    tape: Tape,
    shape: Heads,
    cache: Cache,
    q: Activation,
    k: Activation,
    v: Activation,
    out: Activation,
    *,
    scratch: Region,
    shares: int,
    rotation: Rotation | None = None,
    sinks: Region | None = None,
    following: Coded | None = None,
    tile: int = 0,
) -> None:
    """Record one token's attention: with a rotation q and k turn on their way.

    For recordings of one token. `shares` of the keys are `splits`; `scratch` has `scratch_bytes`,
    was filled with 0 once, and may serve one node after the other. `following`, for shapes that
    are `codable`, gets the row as int8 too. A work group looks at `tile` keys at a time (16, 32 or
    64); 0 chooses.
    """
    if following and not codable(shape):
        raise ValueError(f"values of size {shape.value_size} are not whole groups of 16")
    if shares > MOST_SPLITS:
        raise ValueError(f"{shares} shares; a kernel merges up to {MOST_SPLITS}")
    lane, heads = lanes(tape.features), _heads(shape)
    tape.run(
        f"attention_decode.CACHE={cache.dtype}.SUBGROUPS={int(lane > 0)}",
        [
            *(tape.frame, q.region, k.region, v.region),
            rotation.frequencies if rotation else tape.frame,
            sinks or tape.frame,
            *(cache.keys, cache.values, scratch, out.region),
            following.region if following else out.region,
        ],
        (shares, shape.kv_heads * ceil(shape.group, heads), 1),
        writes=[6, 7, 8, 9, 10] if following else [6, 7, 8, 9],
        push=struct.pack(
            *("IIIIIIIfffI", shape.kv_heads, shape.group, cache.capacity, shape.window),
            *(int(sinks is not None), *(rotation.push if rotation else NO_ROTATION)),
            *(shape.scale, shape.softcap, _chunk(tape.frame)),
        ),
        constants=(
            *(_THREADS, lane or 1, shape.size, shape.value_size, heads, tile or _tile(tape)),
            *(int(shape.softcap > 0), int(following is not None)),
        ),
        subgroup=lane,
        waits=True,
    )


def _heads(shape: Heads) -> int:
    """Heads of one work group: all that share a kv head, or as many as shared memory holds."""
    size = 4 * ceil(max(shape.size, shape.value_size), 4)
    return max(1, min(shape.group, 8, _QUERY_FLOATS // size))


def _chunk(frame: Region) -> int:
    """Room of each of the frame's arrays."""
    return (frame.size // 4 - HEADER) // len(FIELDS)


def _tile(tape: Tape) -> int:
    """Fewer where compiling takes longer than they save."""
    return 16 if tape.gpu.kind == "software" else _TILE
