"""Products of sorted rows with the matrices of their experts, one kernel for each weight type.

Arguments: (starts int32 [experts + 1], lines (of F32, F16 and BF16: float32 rows) sorted by expert,
weights of one expert after another, out float32 [choices, rows], rows, columns, experts, bias
float32 [experts, rows] or 0, a counter). The rows of expert e are starts[e] to before
starts[e + 1]. The counter is as in forge_cpu.kernels.matmul.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from forge_cpu.formats import BLOCK, FORMATS, LINE, ROWS
from forge_cpu.isa import Isa
from forge_cpu.kernels import dense, matmul
from forge_cpu.kernels.kernel import Function, Kernel, kernel_for_isa
from forge_cpu.kernels.pieces import take_piece
from forge_cpu.kernels.pointers import i32

_PIECES = 8
"""Pieces of one expert's work for each thread, at most."""


@njit
def _busy(starts, experts):
    """How many experts have rows."""
    count = 0
    for expert in range(experts):
        if starts[expert + 1] > starts[expert]:
            count += 1
    return count


@njit
def _skip(starts, expert, busy):
    """The expert after `busy` more that have rows, from one that has or -1 on."""
    while busy > 0:
        expert += 1
        if starts[expert + 1] > starts[expert]:
            busy -= 1
    return expert


def _sharing(units_of: int, piece_of: Callable[..., None]) -> Function:
    """Threads take pieces of the busy experts; a unit is `units_of` rows of a matrix."""

    def product(args, thread, threads):
        starts, rows, columns = i32(args[0]), args[4], args[5]
        units = (rows + units_of - 1) // units_of
        together = max(1, units // (_PIECES * threads))
        pieces = (units + together - 1) // together
        count = _busy(starts, args[6]) * pieces
        next_piece = args[8]
        expert, number = -1, -1
        piece = take_piece(next_piece, count, threads)
        while piece < count:
            expert, number = _skip(starts, expert, piece // pieces - number), piece // pieces
            first = piece % pieces * together
            start = starts[expert]
            piece_of(
                starts[expert + 1] - start,
                args[1],
                args[2],
                args[3] + 4 * rows * start,
                rows,
                columns,
                args[7] + 4 * rows * expert if args[7] else 0,
                expert,
                start,
                first,
                min(units, first + together),
            )
            piece = take_piece(next_piece, count, threads)

    return product


def _quantised(kind: str) -> Kernel:
    form = FORMATS[kind]

    @kernel_for_isa
    def build(isa: Isa) -> Function:
        tiles = matmul.tiles_for(form, isa)
        super_bytes, width = form.super_bytes, form.blocks * BLOCK

        @njit
        def piece(tokens, x, weights, out, rows, columns, bias, expert, start, first, stop):
            group_bytes = columns // width * super_bytes
            groups = (rows + ROWS - 1) // ROWS
            lines = x + start * (columns // BLOCK) * LINE
            for group in range(first, stop):
                address = weights + (expert * groups + group) * group_bytes
                tiles(tokens, lines, address, out, rows, group * ROWS, columns, bias, 0)

        return _sharing(ROWS, piece)

    return build


def _dense(kind: str) -> Kernel:
    @kernel_for_isa
    def build(isa: Isa) -> Function:
        tiles, height, size = dense.tiles_for(kind, isa), dense.ROWS[isa], dense.SIZES[kind]

        @njit
        def piece(tokens, x, weights, out, rows, columns, bias, expert, start, first, stop):
            own = x + 4 * columns * start
            address = weights + size * columns * rows * expert
            last = min(rows, stop * height)
            tiles(tokens, own, address, out, rows, columns, bias, 0, first * height, last)

        return _sharing(height, piece)

    return build


f32 = _dense("f32")
f16 = _dense("f16")
bf16 = _dense("bf16")
q4_0 = _quantised("q4_0")
q4_1 = _quantised("q4_1")
q5_0 = _quantised("q5_0")
q5_1 = _quantised("q5_1")
q8_0 = _quantised("q8_0")
q2_k = _quantised("q2_k")
q3_k = _quantised("q3_k")
q4_k = _quantised("q4_k")
q5_k = _quantised("q5_k")
q6_k = _quantised("q6_k")
iq4_nl = _quantised("iq4_nl")
iq4_xs = _quantised("iq4_xs")
mxfp4 = _quantised("mxfp4")
