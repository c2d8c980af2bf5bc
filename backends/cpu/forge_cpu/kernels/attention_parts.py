"""What the kernels of attention share: their arguments, which keys a token sees, a row's record."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from forge_cpu.kernels.attention_tiles import ROWS
from forge_cpu.kernels.functions import exp, of_one
from forge_cpu.kernels.pointers import f32, float_of, i32, i64
from forge_cpu.kv import BLOCK, GROUP, HEADER, KIND_BYTES

# The arguments, in order: addresses, sizes and strides in numbers; SCALE and SOFTCAP are floats.
TOKENS, POSITIONS, SLOTS = 0, 1, 2
Q, Q_STRIDE, K, K_STRIDE, V, V_STRIDE, OUT, OUT_STRIDE = 3, 4, 5, 6, 7, 8, 9, 10
KEYS, VALUES, PADDED = 11, 12, 13
HEADS, KV_HEADS, SIZE, VALUE_SIZE = 14, 15, 16, 17
SCALE, CAUSAL, WINDOW, SOFTCAP, SINKS = 18, 19, 20, 21, 22
SCRATCH, SCRATCH_STRIDE, PARTIALS, MOST_TILES, APPENDS = 23, 24, 25, 26, 27

_LOWEST = float("-inf")
_exp = of_one(exp)


def _choice(comparison: str) -> Any:
    """An intrinsic for two integers; numba's own min and max take a second to compile."""

    @intrinsic
    def choose(typing: Any, a: Any, b: Any) -> Any:
        """One of the two."""
        del typing, a, b

        def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> ir.Value:
            del context
            a, b = arguments
            return builder.select(builder.icmp_signed(comparison, a, b), a, b)

        return types.int64(types.int64, types.int64), generate

    return choose


larger, smaller = _choice(">"), _choice("<")


@njit(inline="always")
def up(value, step):
    """The next multiple of step."""
    return (value + step - 1) // step * step


@njit(inline="always")
def first_key(args, token):
    """The first key that a token sees."""
    first = 0
    if args[WINDOW] > 0:
        first = larger(0, i32(args[POSITIONS])[token] + 1 - args[WINDOW])
    return first


@njit(inline="always")
def past_key(args, token):
    """One past the last key that a token sees: itself, or the end of its sequence in this run."""
    positions, slots = i32(args[POSITIONS]), i32(args[SLOTS])
    last = positions[token] + 1
    if args[CAUSAL] == 0:
        for other in range(i64(args[TOKENS])[0]):
            if slots[other] == slots[token]:
                last = larger(last, positions[other] + 1)
    return last


@njit(inline="always")
def copy_query(args, token, head, queries, row):
    """A row's query, scaled, to its lane of the queries [rows / ROWS][size][ROWS]."""
    size, scale = args[SIZE], float_of(args[SCALE])
    source = f32(args[Q] + 4 * (token * args[Q_STRIDE] + head * size))
    target = f32(queries + 4 * (row // ROWS * ROWS * size + row % ROWS))
    for column in range(size):
        target[column * ROWS] = source[column] * scale


@njit(inline="always")
def clear(record, width):
    """A record of no keys at all."""
    numbers = f32(record)
    for i in range(HEADER + width):
        numbers[i] = 0.0
    numbers[0] = _LOWEST


@njit(inline="always")
def finish(args, record, token, head):
    """A row's output: its sums over the sum of its weights, a sink's among them."""
    numbers, size = f32(record), args[VALUE_SIZE]
    factor = 1 / numbers[1]
    if args[SINKS] != 0:
        top, sink = numbers[0], f32(args[SINKS])[head]
        base = sink if top < sink else top
        kept = _exp(top - base)
        factor = kept / (numbers[1] * kept + _exp(sink - base))
    out = f32(args[OUT] + 4 * (token * args[OUT_STRIDE] + head * size))
    for column in range(size):
        out[column] = numbers[HEADER + column] * factor


def sizes(kind: str) -> tuple[Any, Any]:
    """Functions for the bytes of a group of keys and of a row of values."""
    each, scaled = KIND_BYTES[kind], int(kind == "q8_0")

    @njit(inline="always")
    def group_bytes(size):
        return GROUP * (size * each + scaled * 2 * ((size + BLOCK - 1) // BLOCK))

    @njit(inline="always")
    def row_bytes(width):
        return width * each + scaled * 2 * ((width + BLOCK - 1) // BLOCK)

    return group_bytes, row_bytes
