"""Attention of many tokens in cooperative matrices."""

from __future__ import annotations

import struct

from forge_gpu.features import Features
from forge_gpu.kv import Cache
from forge_gpu.memory import Region
from forge_gpu.steps.attention import LARGEST, Heads, attention
from forge_gpu.steps.shape import ceil
from forge_gpu.tape import Activation, Tape

_LANES = 32
_ROWS = 64
"""Of a work group; shaders/attention.comp knows of them."""
_TILE = 32
"""Keys at a time."""
_EARLY_SIZE = 128
"""The largest size with which registers hold a tile ahead of its use."""


def cooperative(features: Features, shape: Heads, cache: Cache) -> bool:
    """Whether such heads and such a cache can be attended to in a device's cooperative matrices."""
    return features.coopmat and suits(features, shape, cache)


def suits(features: Features, shape: Heads, cache: Cache) -> bool:
    """Whether there is a kernel for them that fits the device, be it the emulation."""
    sizes = shape.size, shape.value_size
    return (
        shape.causal
        and cache.dtype == "f16"
        and all(size % 16 == 0 and size <= LARGEST for size in sizes)
        and _shared_bytes(*sizes, _TILE) <= features.shared_bytes
    )


def left_bytes(shape: Heads, most: int) -> int:
    """Room of what is left to the other kernel, in runs of up to so many tokens."""
    return 4 * shape.kv_heads * ceil(most * shape.group, _ROWS)


def attention_coopmat(
    tape: Tape,
    shape: Heads,
    cache: Cache,
    q: Activation,
    out: Activation,
    *,
    left: Region,
    sinks: Region | None = None,
    tile: int = _TILE,
    early: bool | None = None,
) -> None:
    """Record attention of any number of tokens, whose keys and values are in the cache.

    For heads and caches that the kernel `suits`; a device without cooperative matrices gets their
    emulation. `sinks` are float32 [heads]; `out` is not q; `left` has `left_bytes`. Queries and
    weights are rounded to 16 bits, sums are not. Where rows of several slots meet, or a value that
    is not finite and a row that does not see it, the kernel for any rows follows up. It looks at
    `tile` keys at a time, 32 or 64; `early`: loads them ahead.
    """
    ahead = max(shape.size, shape.value_size) <= _EARLY_SIZE if early is None else early
    real = tape.features.coopmat
    tape.run(
        f"attention_coopmat.COOPMAT={int(real)}",
        [tape.frame, q.region, cache.keys, cache.values, sinks or tape.frame, out.region, left],
        (ceil(q.most * shape.group, _ROWS), shape.kv_heads, 1),
        writes=[5, 6],
        push=struct.pack(
            *("IIIiIff", shape.kv_heads, shape.group, cache.capacity, shape.window),
            *(int(sinks is not None), shape.scale, shape.softcap),
        ),
        constants=(
            *(_ROWS // 16 * _LANES, _LANES, shape.size, shape.value_size, tile),
            *(int(shape.softcap > 0), int(ahead)),
        ),
        subgroup=_LANES if real else 0,
    )
    # Mostly there is nothing to do: the fewest work groups, where compiling them takes no time.
    software = tape.gpu.kind == "software"
    rows = 1 if software else 4 if shape.value_size <= 128 else 2
    attention(tape, shape, cache, q, out, sinks=sinks, left=left, rows_each=rows)


def _shared_bytes(size: int, value_size: int, tile: int) -> int:
    """What the kernel takes of shared memory, and a few words more."""
    rows = max(tile * (2 * size + 2 * value_size + 32), _ROWS * (2 * size + 16))
    return rows + _ROWS * (4 * tile + 16) + _ROWS * (2 * tile + 16) + 12 * _ROWS
