"""Activations as int8 with a scale for every 32, and the sums that the weights' offsets need."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from forge_cpu.formats import BLOCK, LINE
from forge_cpu.kernels.kernel import kernel
from forge_cpu.kernels.pointers import i64
from forge_cpu.kernels.tile import (
    BY_8,
    BY_128,
    HIGH_BY_4,
    HIGH_TOTAL,
    LOW_BY_4,
    LOW_TOTAL,
    SCALE,
    TOTAL,
)
from forge_cpu.kernels.vectors import F32, I8, I32, call, constant, load, splat, vector, word

_LEAST = 1e-30
"""Blocks below are zero: 127 over less might not be finite."""
_INFINITE = 0x7F800000
_QUIET_NAN = ir.Constant(F32, float("nan"))


@intrinsic
def quantise_block(typing: Any, x: Any, line: Any) -> Any:
    """32 floats at `x` become a line of 64 bytes.

    A number that is not finite makes scale and sums NaN: every product with the block shows it.
    """
    del typing, x, line

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        del signature
        address, out = arguments
        values = load(builder, address, 0, vector(F32, BLOCK))
        bits = builder.bitcast(values, vector(I32, BLOCK))
        sizes = builder.and_(bits, constant(I32, BLOCK, 0x7FFFFFFF))
        # As integers the bits order like the sizes, and NaN above all: no comparison loses it.
        largest_bits = call(builder, f"llvm.vector.reduce.umax.v{BLOCK}i32", I32, [sizes])
        largest = builder.bitcast(largest_bits, F32)
        finite = builder.icmp_unsigned("<", largest_bits, ir.Constant(I32, _INFINITE))
        usable = builder.fcmp_ordered(">", largest, ir.Constant(F32, _LEAST))
        usable = builder.and_(usable, finite)
        zero, top = ir.Constant(F32, 0.0), ir.Constant(F32, 127.0)
        factor = builder.select(usable, builder.fdiv(top, largest), zero)
        scale = builder.select(usable, builder.fdiv(largest, top), zero)
        scale = builder.select(finite, scale, _QUIET_NAN)
        safe = builder.select(splat(builder, usable, BLOCK), values, constant(F32, BLOCK, 0.0))
        scaled = builder.fmul(safe, splat(builder, factor, BLOCK))
        rounded = call(builder, f"llvm.rint.v{BLOCK}f32", scaled.type, [scaled])
        codes = builder.fptosi(rounded, vector(I32, BLOCK))
        _store(builder, builder.trunc(codes, vector(I8, BLOCK)), out, 0)
        low, high = (_half_sum(builder, codes, start) for start in (0, BLOCK // 2))
        whole = builder.add(low, high)

        def floats(count: Any) -> Any:
            return builder.fmul(builder.sitofp(count, F32), scale)

        def times(count: Any, factor: int) -> Any:
            return builder.mul(count, ir.Constant(I32, factor))

        words = {
            SCALE: scale,
            TOTAL: floats(whole),
            BY_8: times(whole, -8),
            BY_128: times(whole, -128),
            LOW_BY_4: times(low, -4),
            HIGH_BY_4: times(high, -4),
            LOW_TOTAL: floats(low),
            HIGH_TOTAL: floats(high),
        }
        for offset, value in words.items():
            _store(builder, value, out, offset)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _half_sum(builder: Any, codes: Any, start: int) -> Any:
    size = BLOCK // 2
    lanes = ir.Constant(vector(I32, size), list(range(start, start + size)))
    half = builder.shuffle_vector(codes, codes, lanes)
    return call(builder, f"llvm.vector.reduce.add.v{size}i32", I32, [half])


def _store(builder: Any, value: Any, address: Any, offset: int) -> None:
    place = builder.add(address, word(offset))
    builder.store(value, builder.inttoptr(place, value.type.as_pointer()), align=4)


@njit
def quantise_blocks(x, lines, first, stop):
    """Blocks `first` to `stop` of the floats at `x`; their lines follow one another at `lines`."""
    for block in range(first, stop):
        quantise_block(x + 4 * BLOCK * block, lines + LINE * block)


@kernel
def rows(args, thread, threads):
    """(address of the count of rows, x float32 [rows, columns], lines, columns)."""
    blocks = i64(args[0])[0] * (args[3] // BLOCK)
    quantise_blocks(args[1], args[2], blocks * thread // threads, blocks * (thread + 1) // threads)
