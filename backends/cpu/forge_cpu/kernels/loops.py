"""Loops over rows of float32, as intrinsics: sixteen numbers at a time, the rest one by one.

What a number becomes does not depend on its place in the row, and a sum's order only on its length.
The result may be written over a source.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from forge_cpu.kernels.lanes import LANES, Number, constant, load, ranged, splat, store, total
from forge_cpu.kernels.vectors import F32, word

Curve: TypeAlias = Callable[..., Number]
_FLOATS = ir.VectorType(F32, LANES)
_CHAINS = 4
"""Sums that run side by side, so that an addition need not wait for the one before it."""


def each(curve: Curve, sources: int) -> Any:
    """An intrinsic (out, count, a, b, c, constant): out[i] = curve(sources..., constant)."""

    @intrinsic
    def apply(typing: Any, out: Any, count: Any, a: Any, b: Any, c: Any, number: Any) -> Any:
        """Addresses that the curve does not take are ignored."""
        del typing, out, count, a, b, c, number

        def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> ir.Value:
            out, count, a, b, c, number = arguments
            whole = _whole(builder, count, LANES)
            parts = (word(0), whole, LANES, _FLOATS), (whole, count, 1, F32)
            for start, stop, step, kind in parts:
                fixed = splat(builder, number) if step > 1 else number
                with ranged(builder, start, stop, step) as index:
                    at = builder.mul(index, word(4))
                    values = [
                        Number(builder, load(builder, source, kind, at))
                        for source in (a, b, c)[:sources]
                    ]
                    result = curve(*values, Number(builder, fixed))
                    store(builder, result.value, out, at)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5, types.float32), generate

    return apply


def sum_of(curve: Curve) -> Any:
    """An intrinsic (source, count, constant): the sum of curve(source[i], constant)."""

    @intrinsic
    def apply(typing: Any, source: Any, count: Any, number: Any) -> Any:
        """Four vectors of sums, then one, then the numbers past the last whole vector."""
        del typing, source, count, number

        def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> ir.Value:
            del context
            source, count, number = arguments
            fixed = Number(builder, splat(builder, number))
            zero = constant(_FLOATS, 0.0)
            sums = [cgutils.alloca_once(builder, _FLOATS) for _ in range(_CHAINS)]
            for pointer in sums:
                builder.store(zero, pointer)
            many, whole = (_whole(builder, count, n) for n in (_CHAINS * LANES, LANES))
            for start, stop, chains in ((word(0), many, _CHAINS), (many, whole, 1)):
                with ranged(builder, start, stop, chains * LANES) as index:
                    at = builder.mul(index, word(4))
                    for chain in range(chains):
                        offset = builder.add(at, word(4 * LANES * chain))
                        term = curve(Number(builder, load(builder, source, _FLOATS, offset)), fixed)
                        before = Number(builder, builder.load(sums[chain]))
                        builder.store((before + term).value, sums[chain])
            halves = [builder.fadd(builder.load(a), builder.load(b)) for a, b in _pairs(sums)]
            last = cgutils.alloca_once(builder, F32)
            builder.store(total(builder, builder.fadd(*halves)), last)
            with ranged(builder, whole, count) as index:
                at = builder.mul(index, word(4))
                one = Number(builder, load(builder, source, F32, at))
                before = Number(builder, builder.load(last))
                builder.store((before + curve(one, Number(builder, number))).value, last)
            return builder.load(last)

        return types.float32(types.int64, types.int64, types.float32), generate

    return apply


def _whole(builder: ir.IRBuilder, count: ir.Value, step: int) -> ir.Value:
    return builder.mul(builder.sdiv(count, word(step)), word(step))


def _pairs(values: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(values[::2], values[1::2], strict=True))
