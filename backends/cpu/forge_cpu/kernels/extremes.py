"""The largest and the smallest number of each block of a row, and whether one is no number.

As integers that order like the floats: the sampler's first look at a row of logits.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from forge_cpu.kernels.kernel import kernel
from forge_cpu.kernels.lanes import LANES, load, ranged
from forge_cpu.kernels.vectors import F32, I32, call, word

_LOWEST, _HIGHEST = -(1 << 31), (1 << 31) - 1


@intrinsic
def _extremes(typing: Any, source: Any, count: Any, out: Any, apart: Any) -> Any:
    """Of `count` floats: three int32, `apart` bytes from each other."""
    del typing, source, count, out, apart

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> ir.Value:
        source, count, out, apart = arguments
        whole = builder.mul(builder.sdiv(count, word(LANES)), word(LANES))
        places = [cgutils.alloca_once(builder, I32) for _ in range(3)]
        for place, start in zip(places, (_LOWEST, _HIGHEST, 0), strict=True):
            builder.store(ir.Constant(I32, start), place)
        parts = (word(0), whole, LANES, ir.VectorType(F32, LANES)), (whole, count, 1, F32)
        for first, stop, step, kind in parts:
            with ranged(builder, first, stop, step) as index:
                value = load(builder, source, kind, builder.mul(index, word(4)))
                found = _ordered(builder, value, step)
                for place, one, name in zip(places, found, ("smax", "smin", "umax"), strict=True):
                    if step > 1:
                        one = call(builder, f"llvm.vector.reduce.{name}.v{step}i32", I32, [one])
                    both = call(builder, f"llvm.{name}.i32", I32, [builder.load(place), one])
                    builder.store(both, place)
        for number, place in enumerate(places):
            target = builder.add(out, builder.mul(apart, word(number)))
            builder.store(builder.load(place), builder.inttoptr(target, I32.as_pointer()))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4), generate


def _ordered(builder: ir.IRBuilder, value: ir.Value, lanes: int) -> tuple[Any, Any, Any]:
    """The bits as an integer that orders like the float, -0 as 0: twice; and the size's bits."""

    def constant(number: float, kind: Any) -> ir.Constant:
        many = ir.VectorType(kind, lanes)
        return ir.Constant(kind, number) if lanes == 1 else ir.Constant(many, [number] * lanes)

    value = builder.fadd(value, constant(0.0, F32))
    kind = I32 if lanes == 1 else ir.VectorType(I32, lanes)
    bits, sizes = builder.bitcast(value, kind), constant(0x7FFFFFFF, I32)
    flipped = builder.and_(builder.ashr(bits, constant(31, I32)), sizes)
    ordered = builder.xor(bits, flipped)
    return ordered, ordered, builder.and_(bits, sizes)


@kernel
def blocks(args, thread, threads):
    """(values f32, count, size of a block, out int32 [3, blocks]): the three of each block."""
    count, size = args[1], args[2]
    number = (count + size - 1) // size
    for block in range(number * thread // threads, number * (thread + 1) // threads):
        start = block * size
        here = size if count - start > size else count - start
        _extremes(args[0] + 4 * start, here, args[3] + 4 * block, 4 * number)
