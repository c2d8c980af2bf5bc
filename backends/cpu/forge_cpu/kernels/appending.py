"""Writes keys and values to the cache, in its own type."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from forge_cpu.isa import Isa
from forge_cpu.kernels.attention_parts import (
    K_STRIDE,
    KEYS,
    KV_HEADS,
    PADDED,
    POSITIONS,
    SIZE,
    SLOTS,
    V_STRIDE,
    VALUE_SIZE,
    VALUES,
    K,
    V,
    sizes,
    smaller,
    up,
)
from forge_cpu.kernels.cells import widen
from forge_cpu.kernels.pointers import f32, i8, i32, u16
from forge_cpu.kernels.vectors import F16, F32, I16, I32
from forge_cpu.kv import BLOCK, GROUP

_NEAREST = np.float32(1.5 * 2**23)
"""Added and taken away again, it leaves the nearest integer."""


def half_bits(isa: Isa) -> Any:
    """An intrinsic: a float32 rounded to half precision, as its 16 bits."""

    @intrinsic
    def apply(typing: Any, value: Any) -> Any:
        """To the nearest, ties to even; too large becomes infinite."""
        del typing, value

        def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> ir.Value:
            del context
            if isa is Isa.GENERIC:
                return _narrow(builder, arguments[0])
            return builder.bitcast(builder.fptrunc(arguments[0], F16), I16)

        return types.uint16(types.float32), generate

    return apply


def _narrow(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    """By integer arithmetic, for processors without an instruction.

    A normal result is the shifted bits, rounded by what was shifted out. A subnormal one is read
    off the lowest bits after adding 1/2, whose last place is 2^-24, the unit of such numbers.
    """

    def same(number: int) -> ir.Constant:
        return ir.Constant(I32, number)

    bits = builder.bitcast(value, I32)
    sign = builder.and_(builder.lshr(bits, same(16)), same(0x8000))
    magnitude = builder.and_(bits, same(0x7FFFFFFF))
    odd = builder.and_(builder.lshr(magnitude, same(13)), same(1))
    rounded = builder.add(builder.add(magnitude, same(0xFFF)), odd)
    normal = builder.lshr(builder.sub(rounded, same(112 << 23)), same(13))
    half = ir.Constant(F32, 0.5)
    shifted = builder.fadd(builder.bitcast(magnitude, F32), half)
    subnormal = builder.sub(builder.bitcast(shifted, I32), same(0x3F000000))
    infinite = builder.icmp_unsigned(">=", magnitude, same(0x477FF000))  # rounds to 65536
    nan = builder.icmp_unsigned(">", magnitude, same(0x7F800000))
    small = builder.icmp_unsigned("<", magnitude, same(113 << 23))
    found = builder.select(small, subnormal, normal)
    found = builder.select(infinite, builder.select(nan, same(0x7E00), same(0x7C00)), found)
    return builder.trunc(builder.or_(found, sign), I16)


def appender(kind: str, isa: Isa) -> tuple[Any, Any]:
    """Functions that write one key (keys, place, size, source) and one value (row, width, ...).

    A key goes to the lane `place` of its group; a value is padded with zeros to `width` numbers.
    """
    half = half_bits(isa)

    @njit(inline="always")
    def put_f32(target, index, value):
        f32(target)[index] = value

    @njit(inline="always")
    def put_f16(target, index, value):
        u16(target)[index] = half(value)

    put = put_f32 if kind == "f32" else put_f16

    @njit(inline="always")
    def key_of_floats(group, lane, size, source):
        for column in range(size):
            put(group, column * GROUP + lane, f32(source)[column])

    @njit(inline="always")
    def value_of_floats(row, width, size, source):
        for column in range(size):
            put(row, column, f32(source)[column])
        for column in range(size, width):
            put(row, column, 0.0)

    widened = _widened(isa)

    @njit(inline="always")
    def block(source, start, stop, target, step, scales, scale_index):
        """Columns as int8 under one scale, which is NaN where a column is not finite."""
        values, codes = f32(source), i8(target)
        largest, odd = np.float32(0), np.float32(0)
        for column in range(start, stop):
            value = -values[column] if values[column] < 0 else values[column]
            largest = value if value > largest else largest
            odd += values[column] * np.float32(0)
        bits = half(largest / np.float32(127) + odd)
        u16(scales)[scale_index] = bits
        scale = widened(bits)
        for column in range(start, stop):
            code = values[column] / scale if scale > 0 else np.float32(0)
            code = np.float32(127) if code > 127 else code
            code = np.float32(-127) if code < -127 else code
            codes[column * step] = np.int8(code + _NEAREST - _NEAREST)

    @njit(inline="always")
    def key_of_codes(group, lane, size, source):
        scales = group + size * GROUP
        for start in range(0, size, BLOCK):
            stop = smaller(size, start + BLOCK)
            block(source, start, stop, group + lane, GROUP, scales, start // BLOCK * GROUP + lane)

    @njit(inline="always")
    def value_of_codes(row, width, size, source):
        for start in range(0, width, BLOCK):
            stop = smaller(size, start + BLOCK)
            block(source, start, stop, row, 1, row + width, start // BLOCK)
        for column in range(size, width):
            i8(row)[column] = 0

    if kind == "q8_0":
        return key_of_codes, value_of_codes
    return key_of_floats, value_of_floats


def append_one(kind: str, isa: Isa) -> Any:
    """A function that writes a token's key and value for one head to the cache."""
    group_bytes, row_bytes = sizes(kind)
    put_key, put_value = appender(kind, isa)

    @njit(inline="always")
    def append(args, token, head):
        position, slot = i32(args[POSITIONS])[token], i32(args[SLOTS])[token]
        size, value_size = args[SIZE], args[VALUE_SIZE]
        width = up(value_size, GROUP)
        index = slot * args[KV_HEADS] + head
        group = index * (args[PADDED] // GROUP) + position // GROUP
        put_key(
            args[KEYS] + group * group_bytes(size),
            position % GROUP,
            size,
            args[K] + 4 * (token * args[K_STRIDE] + head * size),
        )
        put_value(
            args[VALUES] + (index * args[PADDED] + position) * row_bytes(width),
            width,
            value_size,
            args[V] + 4 * (token * args[V_STRIDE] + head * value_size),
        )

    return append


def _widened(isa: Isa) -> Any:
    """An intrinsic: half precision's 16 bits as a float32."""

    @intrinsic
    def apply(typing: Any, bits: Any) -> Any:
        """The same number."""
        del typing, bits

        def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> ir.Value:
            del context
            if isa is Isa.GENERIC:
                return widen(builder, arguments[0]).value
            return builder.fpext(builder.bitcast(arguments[0], F16), F32)

        return types.float32(types.uint16), generate

    return apply
