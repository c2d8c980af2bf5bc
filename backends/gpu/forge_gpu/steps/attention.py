"""Attention over the caches: the new keys and values go in, then all tokens look."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from forge_gpu.kv import Cache
from forge_gpu.memory import Region
from forge_gpu.steps.shape import ceil
from forge_gpu.tape import Activation, Tape

_APPEND_THREADS, _THREADS = 64, 128
_LONG_RUN = 1024
LARGEST = 256
"""The largest size of a head."""


@dataclass(frozen=True, slots=True)
class Heads:
    """What an attention node says of its heads, and of what they may see."""

    heads: int
    kv_heads: int
    size: int
    value_size: int
    scale: float
    causal: bool = True
    window: int = 0
    softcap: float = 0.0

    @property
    def group(self) -> int:
        """Heads that share a kv head."""
        return self.heads // self.kv_heads


@dataclass(frozen=True, slots=True)
class Rotation:
    """Rope within attention: float32 frequencies [pairs] in radians a token; style norm or neox."""

    frequencies: Region
    magnitude: float = 1.0
    style: str = "norm"

    @property
    def pairs(self) -> int:
        """Of a head, that turn."""
        return self.frequencies.size // 4

    @property
    def push(self) -> tuple[int, int, float]:
        """As push constants."""
        return self.pairs, int(self.style == "neox"), self.magnitude


NO_ROTATION = 0, 0, 1.0
"""Push constants where nothing turns."""


def append(
    tape: Tape,
    shape: Heads,
    cache: Cache,
    k: Activation,
    v: Activation,
    *,
    rotation: Rotation | None = None,
    q: Activation | None = None,
    rotated: Activation | None = None,
) -> None:
    """Record k, rotated if asked for, and v into the cache; with a rotation also q to `rotated`.

    `rotated` may be q itself.
    """
    if (q is None) != (rotated is None) or (q and not rotation):
        raise ValueError("q comes with a rotation and a place for the rotated")
    heads = shape.heads if q else 0
    tape.run(
        f"append.CACHE={cache.dtype}",
        [
            tape.frame,
            (q or k).region,
            k.region,
            v.region,
            rotation.frequencies if rotation else tape.frame,
            # Bound where nothing is to be written: never accessed then.
            (rotated or k).region,
            cache.keys,
            cache.values,
        ],
        (heads + 2 * shape.kv_heads, k.most, 1),
        writes=[5, 6, 7] if rotated else [6, 7],
        push=struct.pack(
            *("IIIIIf", heads, shape.kv_heads, cache.capacity),
            *(rotation.push if rotation else NO_ROTATION),
        ),
        constants=(_APPEND_THREADS, 1, shape.size, shape.value_size),
    )


def attention(
    tape: Tape,
    shape: Heads,
    cache: Cache,
    q: Activation,
    out: Activation,
    *,
    sinks: Region | None = None,
    left: Region | None = None,
    rows_each: int = 0,
) -> None:
    """Record attention of any number of tokens, whose keys and values are in the cache.

    `sinks` are float32 [heads]; `out` is not q. With `left`, only of what attention_coopmat left. A
    work group has 16 times `rows_each` (1, 2 or 4) rows, of a head and a token each; 0 chooses.
    """
    each = rows_each or _rows_each(tape, shape, q.most)
    tape.run(
        f"attention.CACHE={cache.dtype}",
        [
            *(tape.frame, q.region, cache.keys, cache.values, sinks or tape.frame, out.region),
            left or tape.frame,
        ],
        (ceil(q.most * shape.group, 16 * each), shape.kv_heads, 1),
        writes=[5],
        push=struct.pack(
            *("IIIiIIff", shape.kv_heads, shape.group, cache.capacity, shape.window),
            *(int(shape.causal), int(sinks is not None), shape.scale, shape.softcap),
        ),
        constants=(
            *(_THREADS, 1, shape.size, shape.value_size, each),
            *(int(shape.softcap > 0), int(left is not None)),
        ),
    )


def _rows_each(tape: Tape, shape: Heads, tokens: int) -> int:
    """As many as registers hold and keep every compute unit busy, twice.

    Few on a software device, unless for long runs: compiling more takes longer than they save.
    """
    if tape.gpu.kind == "software":
        return 4 if tokens * shape.group >= _LONG_RUN else 1
    each, busy = 4 if shape.value_size <= 128 else 2, 2 * tape.gpu.compute_units
    while each > 1 and shape.kv_heads * ceil(tokens * shape.group, 16 * each) < busy:
        each //= 2
    return each
