"""Rows of a packed matrix as float32: a table of embeddings, held once where it is the head too.

Arguments: (address of the count of tokens, token ids int64, packed weights, out float32 [tokens,
columns], columns).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit

from forge_cpu.formats import BLOCK, FORMATS, ROWS, Format
from forge_cpu.kernels import pointers
from forge_cpu.kernels.kernel import Kernel, kernel
from forge_cpu.kernels.pointers import float_from_bits, i8, i64, load_f16, u8, u16

_CHUNK = 4 * ROWS


def code_for(form: Format) -> Callable[..., int]:
    """Column `column` of the block at an address, for a row: its code, or its table's entry."""
    low, high, offset = form.low, form.high, form.offset
    above = _CHUNK * low
    table = np.array(form.table or (0,), np.int8)
    looked_up = form.table is not None

    @njit
    def code(block, row, column):
        vector, place = column >> 2, 4 * row + (column & 3)
        if low == 8:
            value = u8(block)[_CHUNK * vector + place]
        elif low == 4:
            value = (u8(block)[_CHUNK * (vector & 3) + place] >> (4 * (vector >> 2))) & 15
        else:
            value = (u8(block)[_CHUNK * (vector >> 2) + place] >> (2 * (vector & 3))) & 3
        if high == 1:
            value |= ((u8(block + above)[place] >> vector) & 1) << low
        elif high == 2:
            upper = u8(block + above)[_CHUNK * (vector >> 2) + place] >> (2 * (vector & 3))
            value |= (upper & 3) << low
        if looked_up:
            return np.int64(table[value])
        return np.int64(value) - offset

    return code


def scale_for(form: Format) -> Callable[..., tuple[float, float]]:
    """For a row, block and half of the super-block at an address: scale, and what is added."""
    kind, halves, minima = form.scales, form.halves, form.minima
    scales_at, minima_at, factors_at = form.scales_at, form.minima_at, form.factors_at
    scale_bytes = form.scale_bytes

    @njit
    def scale(start, row, block, half):
        scales = start + scales_at + block * scale_bytes
        added = np.float32(0)
        if kind == "f16":
            if minima:
                added = load_f16(start + minima_at + block * scale_bytes, row)
            return load_f16(scales, row), added
        if kind == "e8m0":
            power = np.int32(u8(scales)[row])
            bits = (power - 1) << 23 if power >= 2 else 0x200000 << power
            return float_from_bits(np.int32(bits)), added
        place = row + (ROWS * half if halves else 0)
        factor = load_f16(start + factors_at, row)
        if kind == "i8":
            return factor * np.float32(i8(scales)[place]), added
        given = u8(scales)[place]
        least = load_f16(start + factors_at + 2 * ROWS, row)
        if kind == "nibbles":
            return factor * np.float32(given & 15), -least * np.float32(given >> 4)
        taken = u8(start + minima_at + block * scale_bytes)[place]
        return factor * np.float32(given), -least * np.float32(taken)

    return scale


def _rows(kind: str) -> Kernel:
    form = FORMATS[kind]
    code, scale = code_for(form), scale_for(form)
    blocks, super_bytes, code_bytes = form.blocks, form.super_bytes, form.code_bytes

    @kernel
    def rows(args, thread, threads):
        tokens, columns = i64(args[0])[0], args[4]
        wide = columns // BLOCK
        for place in range(
            tokens * wide * thread // threads, tokens * wide * (thread + 1) // threads
        ):
            token, block = place // wide, place % wide
            identity = i64(args[1])[token]
            group, row = identity // ROWS, identity % ROWS
            number, inner = group * (wide // blocks) + block // blocks, block % blocks
            start = args[2] + number * super_bytes
            out = pointers.f32(args[3] + 4 * BLOCK * place)
            for half in range(2):
                factor, added = scale(start, row, inner, half)
                for column in range(16 * half, 16 * half + 16):
                    value = code(start + inner * code_bytes, row, column)
                    out[column] = factor * np.float32(value) + added

    return rows


def _dense(kind: str) -> Kernel:
    size = 4 if kind == "f32" else 2

    @kernel
    def rows(args, thread, threads):
        count, columns = i64(args[0])[0] * args[4], args[4]
        for place in range(count * thread // threads, count * (thread + 1) // threads):
            token, column = place // columns, place % columns
            row = args[2] + size * columns * i64(args[1])[token]
            if kind == "f32":
                value = pointers.f32(row)[column]
            elif kind == "f16":
                value = load_f16(row, column)
            else:
                value = float_from_bits(np.int32(u16(row)[column]) << 16)
            pointers.f32(args[3])[place] = value

    return rows


f32 = _dense("f32")
f16 = _dense("f16")
bf16 = _dense("bf16")
q4_0 = _rows("q4_0")
q4_1 = _rows("q4_1")
q5_0 = _rows("q5_0")
q5_1 = _rows("q5_1")
q8_0 = _rows("q8_0")
q2_k = _rows("q2_k")
q3_k = _rows("q3_k")
q4_k = _rows("q4_k")
q5_k = _rows("q5_k")
q6_k = _rows("q6_k")
iq4_nl = _rows("iq4_nl")
iq4_xs = _rows("iq4_xs")
mxfp4 = _rows("mxfp4")
