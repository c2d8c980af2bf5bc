"""Appends the ops that are no matrix products to a program, as calls of their kernels.

Activations are float32 [T, n]; a view of some columns does as well, as long as it is kept alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from forge.backend import Array
from forge_cpu.kv import Attention, KvCache
from forge_cpu.program import Argument, Program

GATINGS = ("softmax", "sigmoid", "softmax_selected")
"""By the number that the kernel takes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What changes from run to run: how many tokens (int64 [1]), positions and slots (i32)."""

    tokens: Array
    positions: Array
    slots: Array


def add_norm(
    program: Program,
    tokens: Array,
    x: Array,
    out: Array,
    *,
    epsilon: float,
    size: int | None = None,
    centred: bool = False,
    weight: Array | None = None,
    bias: Array | None = None,
    residual: Array | None = None,
    total: Array | None = None,
) -> None:
    """rms_norm, or layer_norm where `centred`, of runs of `size` columns.

    With a residual, total = x + residual is what is normalised; total may be either of them.
    """
    size = size or x.shape[1]
    program.add(
        "norms.layer_norm" if centred else "norms.rms_norm",
        *(tokens, x.shape[1] // size, size, epsilon),
        *(*_rows(x), *_rows(out), _or_none(weight), _or_none(bias)),
        *(*_rows(residual), *_rows(x if total is None else total)),
    )


def add_elementwise(
    program: Program,
    kernel: str,
    tokens: Array,
    out: Array,
    a: Array,
    b: Array | None = None,
    number: float = 0.0,
) -> None:
    """A kernel of `elementwise` or `gates`; b may be a row [n] for all tokens."""
    program.add(kernel, tokens, out.shape[1], *_rows(out), *_rows(a), *_rows(b), float(number))


def add_angles(
    program: Program, frame: Frame, frequencies: Sequence[float], magnitude: float, table: Array
) -> None:
    """Fill table float32 [T, 2, pairs] with cosines and sines, once for all heads and layers."""
    program.add(
        "rope.angles",
        frame.tokens,
        frame.positions,
        np.array(frequencies, np.float64),
        len(frequencies),
        float(magnitude),
        table,
    )


def add_rope(
    program: Program, tokens: Array, table: Array, style: str, heads: int, x: Array, out: Array
) -> None:
    """Rotate the heads in x, in place or to out; style is norm or neox."""
    size, pairs = x.shape[1] // heads, table.shape[2]
    program.add(f"rope.rotate_{style}", tokens, heads, size, pairs, table, *_rows(x), *_rows(out))


def add_attention(
    program: Program,
    frame: Frame,
    node: Attention,
    cache: KvCache,
    work: tuple[Array, Array],
    q: Array,
    k: Array,
    v: Array,
    out: Array,
    *,
    scale: float,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0.0,
    sinks: Array | None = None,
    single: bool = False,
) -> None:
    """Append k and v to the cache and attend; `single` makes steps for runs of one token only.

    `work` is node.scratch(threads) and node.partials(); nodes of one shape may share it.
    """
    layout, (scratch, partials) = node.layout, work
    arguments: tuple[Argument, ...] = (
        *(frame.tokens, frame.positions, frame.slots),
        *(*_rows(q), *_rows(k), *_rows(v), *_rows(out)),
        *(cache.keys, cache.values, layout.padded),
        *(node.heads, layout.heads, layout.key_size, layout.value_size),
        *(float(scale), int(causal), window, float(softcap), _or_none(sinks)),
        *(scratch, scratch.shape[1], partials, partials.shape[2], int(single)),
    )
    kind = layout.kind
    long = [f"append_{kind}", f"many_{kind}"]
    for name in (*([] if single else long), f"few_{kind}", "join"):
        program.add(f"attention.{name}", *arguments)


def add_select_rows(program: Program, count: Array, rows: Array, x: Array, out: Array) -> None:
    """out[i] = x[rows[i]] for count [1] rows, i32."""
    program.add("rows.select_rows", count, rows, out.shape[1], *_rows(x), *_rows(out))


@dataclass(frozen=True, slots=True)
class Choices:
    """Which experts each token goes to. Row r of the gathered activations is choice sources[r],
    that is token sources[r] // used; places[c] is the row of choice c. The rows of expert busy[n]
    are starts[n] to before starts[n + 1]. `count` [1] has how many are busy, `rows` [1] how many
    choices there are.
    """

    experts: int
    chosen: Array
    weights: Array
    busy: Array
    starts: Array
    sources: Array
    places: Array
    count: Array
    rows: Array
    alone: bool = False
    """Whether runs are of one token: it is the only row of each expert, in the order chosen."""

    @property
    def used(self) -> int:
        """Experts of a token."""
        return int(self.chosen.shape[1])

    @classmethod
    def of(cls, tokens: int, experts: int, used: int) -> Choices:
        """Room for runs of up to `tokens`."""
        chosen, weights = np.zeros((tokens, used), np.int32), np.zeros((tokens, used), np.float32)
        busy, starts = np.zeros(experts, np.int32), np.zeros(experts + 1, np.int32)
        sources, places = np.zeros(tokens * used, np.int32), np.zeros(tokens * used, np.int32)
        count, rows = np.zeros(1, np.int64), np.zeros(1, np.int64)
        return cls(experts, chosen, weights, busy, starts, sources, places, count, rows)

    @classmethod
    def of_one(cls, experts: int, used: int) -> Choices:
        """For runs of one token, whose choices need no sorting."""
        chosen, weights = np.zeros((1, used), np.int32), np.zeros((1, used), np.float32)
        starts, count = np.arange(used + 1, dtype=np.int32), np.array([used])
        order = starts[:used]
        return cls(experts, chosen, weights, chosen[0], starts, order, order, count, count, True)


def add_route(
    program: Program,
    tokens: Array,
    scores: Array,
    choices: Choices,
    *,
    gating: str = "softmax",
    normalize: bool = True,
    factor: float = 1.0,
) -> None:
    """Choose experts and their weights, and sort the choices by expert where there are many."""
    c = choices
    ways = GATINGS.index(gating), int(normalize), float(factor)
    found = *_rows(scores), c.chosen, c.weights
    program.add("experts_route.route", tokens, c.experts, c.used, *ways, *found)
    if not c.alone:
        sort = c.chosen, c.starts, c.sources, c.places, c.busy, c.count, c.rows
        program.add("experts_route.group", tokens, c.experts, c.used, *sort)


def add_gather(
    program: Program, tokens: Array, choices: Choices, x: Array, gathered: Array
) -> None:
    """Copy each token's row to its experts' rows."""
    program.add(
        *("experts_route.gather", tokens, choices.used, x.shape[1], choices.sources),
        *(*_rows(x), *_rows(gathered)),
    )


def add_combine(program: Program, tokens: Array, choices: Choices, made: Array, out: Array) -> None:
    """Add up what the experts made of each token, by weight."""
    c = choices
    program.add(
        *("experts_route.combine", tokens, c.used, out.shape[1], c.places, c.weights),
        *(*_rows(made), *_rows(out)),
    )


def _rows(array: Array | None) -> tuple[Argument, int]:
    """Address and stride; a vector is one row for all tokens, with a stride of 0."""
    if array is None:
        return 0, 0
    if array.ndim == 1:
        return array, 0
    address: Argument = array if array.flags.c_contiguous else array.ctypes.data
    return address, array.strides[0] // 4


def _or_none(array: Array | None) -> Argument:
    return 0 if array is None else array
