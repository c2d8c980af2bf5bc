"""Rotary positions (arXiv 2104.09864): the angles once for all heads, then the rotations.

`angles` takes (tokens, positions, frequencies as f64, pairs, magnitude, table) and leaves in table
[tokens, 2, pairs] the cosines and sines of float64 angles, times the magnitude. `rotate_norm` and
`rotate_neox` take (tokens, heads, size, pairs, table, x, x stride, out, out stride).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from forge_cpu.kernels.kernel import Function, kernel
from forge_cpu.kernels.lanes import LANES, Number, load, ranged, store
from forge_cpu.kernels.loops import each
from forge_cpu.kernels.pointers import f32, f64, float_of, i32, i64
from forge_cpu.kernels.vectors import F32, I32, word

_copy = each(lambda x, _: x, 1)
_HALF = LANES // 2


@kernel
def angles(args, thread, threads):
    """The table of one run."""
    positions, frequencies, pairs = i32(args[1]), f64(args[2]), args[3]
    magnitude, table = float_of(args[4]), f32(args[5])
    tasks = i64(args[0])[0] * pairs
    for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
        token, pair = task // pairs, task % pairs
        angle = positions[token] * frequencies[pair]
        table[2 * token * pairs + pair] = np.float32(math.cos(angle) * magnitude)
        table[(2 * token + 1) * pairs + pair] = np.float32(math.sin(angle) * magnitude)


def _rotated(a: Number, b: Number, cosine: Number, sine: Number) -> tuple[Number, Number]:
    return a.times_plus(cosine, -(b * sine)), a.times_plus(sine, b * cosine)


@intrinsic
def _halves(typing: Any, x: Any, out: Any, pairs: Any, table: Any) -> Any:
    """Pairs (i, i + pairs) of one head."""
    del typing, x, out, pairs, table

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> ir.Value:
        x, out, pairs, table = arguments
        apart = builder.mul(pairs, word(4))
        vectors = builder.mul(builder.sdiv(pairs, word(LANES)), word(LANES))
        parts = (word(0), vectors, LANES, ir.VectorType(F32, LANES)), (vectors, pairs, 1, F32)
        for start, stop, step, kind in parts:
            with ranged(builder, start, stop, step) as pair:
                at = builder.mul(pair, word(4))
                far = builder.add(at, apart)
                a, b, cosine, sine = (
                    Number(builder, load(builder, source, kind, offset))
                    for source, offset in ((x, at), (x, far), (table, at), (table, far))
                )
                for result, offset in zip(_rotated(a, b, cosine, sine), (at, far), strict=True):
                    store(builder, result.value, out, offset)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


@intrinsic
def _neighbours(typing: Any, x: Any, out: Any, pairs: Any, table: Any) -> Any:
    """Pairs (2i, 2i + 1) of one head."""
    del typing, x, out, pairs, table

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> ir.Value:
        x, out, pairs, table = arguments
        sines = builder.mul(pairs, word(4))
        vectors = builder.mul(builder.sdiv(pairs, word(_HALF)), word(_HALF))
        floats, many = ir.VectorType(F32, LANES), ir.VectorType(F32, _HALF)
        with ranged(builder, word(0), vectors, _HALF) as pair:
            at, place = (builder.mul(pair, word(n)) for n in (4, 8))
            both = load(builder, x, floats, place)
            a, b = (Number(builder, _taken(builder, both, range(i, LANES, 2))) for i in (0, 1))
            cosine, sine = (
                Number(builder, load(builder, table, many, offset))
                for offset in (at, builder.add(at, sines))
            )
            first, second = _rotated(a, b, cosine, sine)
            mixed = [i // 2 + _HALF * (i % 2) for i in range(LANES)]
            store(builder, _taken(builder, first.value, mixed, second.value), out, place)
        with ranged(builder, vectors, pairs) as pair:
            at, place = (builder.mul(pair, word(n)) for n in (4, 8))
            next_place = builder.add(place, word(4))
            a, b, cosine, sine = (
                Number(builder, load(builder, source, F32, offset))
                for source, offset in (
                    (x, place), (x, next_place), (table, at), (table, builder.add(at, sines))
                )
            )  # fmt: skip
            first, second = _rotated(a, b, cosine, sine)
            store(builder, first.value, out, place)
            store(builder, second.value, out, next_place)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


def _taken(
    builder: ir.IRBuilder, vector: ir.Value, lanes: Any, other: ir.Value | None = None
) -> ir.Value:
    """These lanes of one vector, or of two one after the other."""
    picked = list(lanes)
    return builder.shuffle_vector(
        vector,
        ir.Constant(vector.type, ir.Undefined) if other is None else other,
        ir.Constant(ir.VectorType(I32, len(picked)), picked),
    )


def _rotate(turn: Any) -> Function:
    def run(args, thread, threads):
        heads, size, pairs = args[1], args[2], args[3]
        tasks = i64(args[0])[0] * heads
        for task in range(tasks * thread // threads, tasks * (thread + 1) // threads):
            token, head = task // heads, task % heads
            x = args[5] + 4 * (token * args[6] + head * size)
            out = args[7] + 4 * (token * args[8] + head * size)
            turn(x, out, pairs, args[4] + 8 * token * pairs)
            if x != out:
                rest = 8 * pairs
                _copy(out + rest, size - 2 * pairs, x + rest, 0, 0, np.float32(0))

    return run


rotate_norm = kernel(_rotate(_neighbours))
rotate_neox = kernel(_rotate(_halves))
