"""Attention of one token: rope, append and the keys split among work groups, in one kernel."""

from __future__ import annotations

import struct

from forge_vulkan.kv import Cache, row_words
from forge_vulkan.runtime.memory import Region
from forge_vulkan.steps.attention import NO_ROTATION, Heads, Rotation
from forge_vulkan.steps.shape import ceil
from forge_vulkan.tape import Activation, Tape

_THREADS = 128
_QUERY_FLOATS = 1024
"""Of the queries in shared memory, at most: 4 KiB."""
_TILE_WORDS = 64 * 64
"""Of the keys in shared memory, about: 16 KiB."""
MOST_SPLITS = 128


def splits(compute_units: int, shape: Heads, capacity: int) -> int:
    """Into how many shares to split the keys: three work groups for each compute unit."""
    rows = shape.kv_heads * ceil(shape.group, _heads(shape))
    return max(1, min(3 * compute_units // rows, capacity // 64, MOST_SPLITS))


def scratch_bytes(shape: Heads, shares: int) -> int:
    """What the work groups leave for the last of them. The region's first words must be 0 once."""
    rows = shape.kv_heads * ceil(shape.group, _heads(shape))
    return 4 * rows * (1 + shares * _heads(shape) * (shape.value_size + 2))


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
    tile: int = 0,
) -> None:
    """Record one token's attention: with a rotation q and k turn on their way.

    For recordings of one token. `shares` of the keys are `splits`; `scratch` has `scratch_bytes`,
    was filled with 0 once, and may serve one node after the other. A work group looks at `tile`
    keys at a time (16, 32 or 64); 0 chooses.
    """
    heads, words = _heads(shape), row_words(shape.size, cache.dtype)
    keys = tile or _tile(tape, words)
    parts = _THREADS // ceil(shape.value_size, 4)
    area = max(keys * (words | 1), parts * heads * (shape.value_size + 1), 3 * shares * heads)
    tape.run(
        f"attention_decode.CACHE={cache.dtype}",
        [
            *(tape.frame, q.region, k.region, v.region),
            rotation.frequencies if rotation else tape.frame,
            sinks or tape.frame,
            *(cache.keys, cache.values, scratch, out.region),
        ],
        (shares, shape.kv_heads * ceil(shape.group, heads), 1),
        writes=[6, 7, 8, 9],
        push=struct.pack(
            *("IIIIIIIfff", shape.kv_heads, shape.group, cache.capacity, shape.window),
            *(int(sinks is not None), *(rotation.push if rotation else NO_ROTATION)),
            *(shape.scale, shape.softcap),
        ),
        constants=(
            *(_THREADS, 1, shape.size, shape.value_size, heads, keys, area),
            int(shape.softcap > 0),
        ),
    )


def _heads(shape: Heads) -> int:
    """Heads of one work group: all that share a kv head, or as many as shared memory holds."""
    return max(1, min(shape.group, 8, _QUERY_FLOATS // shape.size))


def _tile(tape: Tape, words: int) -> int:
    """As many keys as shared memory holds; few where compiling takes longer than they save."""
    if tape.gpu.listed.device.kind == "software":
        return 16
    return max(16, min(64, 1 << (_TILE_WORDS // words).bit_length() - 1))
