"""The softmax of a row over one tile, and how the tiles of a row are merged (arXiv 2205.14135).

A row's record is float32 [16 + padded size of a value]: the largest score, the sum of the weights,
14 unused numbers, and the weighted sum of the values.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from forge_cpu.kernels.attention_tiles import LINE
from forge_cpu.kernels.functions import exp, exp_of_negative, tanh
from forge_cpu.kernels.lanes import (
    LANES,
    Number,
    constant,
    largest,
    load,
    ranged,
    splat,
    store,
    total,
)
from forge_cpu.kernels.vectors import F32, I32, word

HEADER = LINE
"""Bytes of a record before its sums."""
LOWEST = float("-inf")
_FLOATS = ir.VectorType(F32, LANES)
_INDICES = ir.VectorType(I32, LANES)


@intrinsic
def soften(typing: Any, scores: Any, first: Any, last: Any, cap: Any, record: Any) -> Any:
    """Turn scores [TILE] from `first` to before `last` into weights; the rest becomes 0.

    The record gets the largest score and the weights' sum. A cap bounds the scores; 0 is none.
    """
    del typing, scores, first, last, cap, record

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> ir.Value:
        scores, first, last, cap, record = arguments
        lanes = word(LANES)
        start = builder.mul(builder.sdiv(first, lanes), lanes)
        with builder.if_then(builder.fcmp_ordered(">", cap, ir.Constant(F32, 0.0))):
            bound = Number(builder, splat(builder, cap))
            with ranged(builder, start, last, LANES) as key:
                at = builder.mul(key, word(4))
                score = Number(builder, load(builder, scores, _FLOATS, at))
                store(builder, (tanh(score / bound) * bound).value, scores, at)
        best = cgutils.alloca_once_value(builder, constant(_FLOATS, LOWEST))
        with ranged(builder, start, last, LANES) as key:
            score = Number(builder, load(builder, scores, _FLOATS, builder.mul(key, word(4))))
            seen = score.where(_within(builder, key, first, last), LOWEST)
            most = Number(builder, builder.load(best))
            builder.store(seen.where(most.below(seen), most).value, best)
        top = largest(builder, builder.load(best))
        base = Number(builder, splat(builder, _finite_base(Number(builder, top)).value))
        sums = cgutils.alloca_once_value(builder, constant(_FLOATS, 0.0))
        with ranged(builder, start, last, LANES) as key:
            at = builder.mul(key, word(4))
            weight = exp_of_negative(Number(builder, load(builder, scores, _FLOATS, at)) - base)
            weight = weight.where(_within(builder, key, first, last), 0.0)
            store(builder, weight.value, scores, at)
            builder.store((Number(builder, builder.load(sums)) + weight).value, sums)
        store(builder, top, record)
        store(builder, total(builder, builder.load(sums)), record, 4)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3, types.float32, types.int64), generate


@intrinsic
def merge(typing: Any, whole: Any, part: Any, width: Any) -> Any:
    """Add the record of a tile to that of the tiles before it; `width` is in vectors."""
    del typing, whole, part, width

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> ir.Value:
        whole, part, width = arguments
        before, now = (Number(builder, load(builder, a, F32)) for a in (whole, part))
        top = now.where(before.below(now), before)
        base = _finite_base(top)
        keep, take = exp(before - base), exp(now - base)
        sums = [Number(builder, load(builder, address, F32, 4)) for address in (whole, part)]
        store(builder, top.value, whole)
        store(builder, take.times_plus(sums[1], keep * sums[0]).value, whole, 4)
        kept, taken = (Number(builder, splat(builder, n.value)) for n in (keep, take))
        with ranged(builder, word(0), width, 1) as column:
            at = builder.add(builder.mul(column, word(LINE)), word(HEADER))
            old = Number(builder, load(builder, whole, _FLOATS, at))
            new = Number(builder, load(builder, part, _FLOATS, at))
            store(builder, taken.times_plus(new, kept * old).value, whole, at)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3), generate


def _finite_base(top: Number) -> Number:
    """What scores are compared with: where all are -inf, 0, so that their weights are 0."""
    least = top.builder.fcmp_ordered("==", top.value, ir.Constant(F32, LOWEST))
    return Number(top.builder, ir.Constant(F32, 0.0)).where(least, top)


def _within(builder: ir.IRBuilder, key: ir.Value, first: ir.Value, last: ir.Value) -> ir.Value:
    """Which of the sixteen keys from `key` on lie from `first` to before `last`."""
    offset = splat(builder, builder.trunc(builder.sub(key, first), I32))
    index = builder.add(offset, ir.Constant(_INDICES, list(range(LANES))))
    count = splat(builder, builder.trunc(builder.sub(last, first), I32))
    return builder.icmp_unsigned("<", index, count)
