"""Appends the ops that are no matrix products to a program, as calls of their kernels.

Activations are float32 [T, n]; a view of some columns does as well, as long as it is kept alive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from forge.backend import Array
from forge_cpu.kv import Attention, KvCache
from forge_cpu.program import Argument, PerThread, Program

Tensor: TypeAlias = Array | PerThread
GATINGS = ("softmax", "sigmoid", "softmax_selected")
"""By the number that the kernel takes."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What changes from run to run: how many tokens (int64 [1]), positions and slots (i32)."""

    tokens: Tensor
    positions: Tensor
    slots: Tensor


def add_norm(
    program: Program,
    tokens: Tensor,
    x: Tensor,
    out: Tensor,
    *,
    epsilon: float,
    size: int | None = None,
    centred: bool = False,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    residual: Tensor | None = None,
    total: Tensor | None = None,
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
    tokens: Tensor,
    out: Tensor,
    a: Tensor,
    b: Tensor | None = None,
    number: float = 0.0,
) -> None:
    """A kernel of `elementwise` or `gates`; b may be a row [n] for all tokens."""
    program.add(kernel, tokens, out.shape[1], *_rows(out), *_rows(a), *_rows(b), float(number))


def add_angles(
    program: Program, frame: Frame, frequencies: Sequence[float], magnitude: float, table: Tensor
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
    program: Program, tokens: Tensor, table: Tensor, style: str, heads: int, x: Tensor, out: Tensor
) -> None:
    """Rotate the heads in x, in place or to out; style is norm or neox."""
    size, pairs = x.shape[1] // heads, table.shape[2]
    program.add(f"rope.rotate_{style}", tokens, heads, size, pairs, table, *_rows(x), *_rows(out))


@dataclass(frozen=True, slots=True)
class AttentionStep:
    """An attention node in a program. `work` is node.scratch(threads) and node.partials(), which
    nodes of one shape may share."""

    frame: Frame
    node: Attention
    cache: KvCache
    work: tuple[Array, Array]
    q: Tensor
    k: Tensor
    v: Tensor
    out: Tensor
    scale: float
    causal: bool = True
    window: int = 0
    softcap: float = 0.0
    sinks: Array | None = None
    single: bool = False
    """For runs of one token only."""

    def add_tiles(self, program: Program) -> None:
        """Append k and v to the cache, and attend; what short runs find in each tile is to join."""
        kind = self.node.layout.kind
        long = [f"append_{kind}", f"many_{kind}"]
        for name in (*([] if self.single else long), f"few_{kind}"):
            program.add(f"attention.{name}", *self._arguments(self.work[0]))

    def add_join(self, program: Program) -> None:
        """Merge the tiles of short runs."""
        scratch: Tensor = self.work[0]
        if isinstance(self.out, PerThread):
            scratch = PerThread(tuple(self.work[0]))
        program.add("attention.join", *self._arguments(scratch))

    def _arguments(self, scratch: Tensor) -> tuple[Argument, ...]:
        layout, partials = self.node.layout, self.work[1]
        return (
            *(self.frame.tokens, self.frame.positions, self.frame.slots),
            *(*_rows(self.q), *_rows(self.k), *_rows(self.v), *_rows(self.out)),
            *(self.cache.keys, self.cache.values, layout.padded),
            *(self.node.heads, layout.heads, layout.key_size, layout.value_size),
            *(float(self.scale), int(self.causal), self.window, float(self.softcap)),
            *(_or_none(self.sinks), scratch, self.work[0].shape[1]),
            *(partials, partials.shape[2], int(self.single)),
        )


def add_select_rows(program: Program, count: Tensor, rows: Tensor, x: Tensor, out: Tensor) -> None:
    """out[i] = x[rows[i]] for count [1] rows, i32."""
    program.add("rows.select_rows", count, rows, out.shape[1], *_rows(x), *_rows(out))


@dataclass(frozen=True, slots=True)
class Choices:
    """Which experts each token goes to. Row r of the gathered activations is choice sources[r],
    that is token sources[r] // used; the rows of expert e are starts[e] to before starts[e + 1].
    """

    experts: int
    used: int
    chosen: Array
    weights: Array
    starts: Array
    sources: Array
    places: Array

    @classmethod
    def of(cls, tokens: int, experts: int, used: int) -> Choices:
        """Room for runs of up to `tokens`."""
        integers = [np.zeros(n, np.int32) for n in (experts + 1, tokens * used, tokens * used)]
        chosen = np.zeros((tokens, used), np.int32)
        return cls(experts, used, chosen, np.zeros((tokens, used), np.float32), *integers)


def add_route(
    program: Program,
    tokens: Tensor,
    scores: Tensor,
    choices: Choices,
    *,
    gating: str = "softmax",
    normalize: bool = True,
    factor: float = 1.0,
) -> None:
    """Choose experts and their weights, and sort the choices by expert."""
    c = choices
    ways = GATINGS.index(gating), int(normalize), float(factor)
    found = *_rows(scores), c.chosen, c.weights
    program.add("experts_route.route", tokens, c.experts, c.used, *ways, *found)
    sort = c.chosen, c.starts, c.sources, c.places
    program.add("experts_route.group", tokens, c.experts, c.used, *sort)


def add_gather(
    program: Program, tokens: Tensor, choices: Choices, x: Tensor, gathered: Tensor
) -> None:
    """Copy each token's row to its experts' rows."""
    program.add(
        *("experts_route.gather", tokens, choices.used, x.shape[1], choices.sources),
        *(*_rows(x), *_rows(gathered)),
    )


def add_combine(
    program: Program, tokens: Tensor, choices: Choices, made: Tensor, out: Tensor
) -> None:
    """Add up what the experts made of each token, by weight."""
    c = choices
    program.add(
        *("experts_route.combine", tokens, c.used, out.shape[1], c.places, c.weights),
        *(*_rows(made), *_rows(out)),
    )


def _rows(array: Tensor | None) -> tuple[Argument, int]:
    """Address and stride; a vector is one row for all tokens, with a stride of 0."""
    if array is None:
        return 0, 0
    if array.ndim == 1:
        return array, 0
    address: Argument = array
    if not isinstance(array, PerThread) and not array.flags.c_contiguous:
        address = array.ctypes.data
    return address, array.strides[0] // 4


def _or_none(array: Tensor | None) -> Argument:
    return 0 if array is None else array
