"""Products of sorted rows with the matrices of their experts, one kernel for each weight type.

Arguments: (address of the count of busy experts, their numbers int32, starts int32, lines (of F32,
F16 and BF16: float32 rows) sorted by expert, weights of one expert after another, out float32
[choices, rows], rows, columns, bias float32 [experts, rows] or 0, whether one line is that of all,
a counter). The rows of the n-th busy expert are starts[n] to before starts[n + 1]. The counter is
as in forge_cpu.kernels.matmul.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from forge_cpu.formats import BLOCK, FORMATS, LINE, ROWS
from forge_cpu.isa import Isa
from forge_cpu.kernels import dense, matmul
from forge_cpu.kernels.dots import dots_for
from forge_cpu.kernels.kernel import Function, Kernel, kernel_for_isa
from forge_cpu.kernels.pieces import take_piece
from forge_cpu.kernels.pointers import i32, i64

_CACHED_BYTES = 256 << 10
"""Lines of activations that stay in the second-level cache while the weights pass by."""
_PIECES = 8
"""Pieces of all the work for each thread, about; of each expert's at least _SHARES."""
_SHARES = 2


def _sharing(units_of: int, piece_of: Callable[..., None]) -> Function:
    """Threads take pieces of the busy experts; a unit is `units_of` rows of a matrix."""

    def product(args, thread, threads):
        busy, starts, rows, columns = i64(args[0])[0], i32(args[2]), args[6], args[7]
        units = (rows + units_of - 1) // units_of
        each = max(_SHARES * threads, _PIECES * threads // max(1, busy))
        together = max(1, units // each)
        pieces = (units + together - 1) // together
        count = busy * pieces
        next_piece = args[10]
        piece = take_piece(next_piece, count, threads)
        while piece < count:
            number, first = piece // pieces, piece % pieces * together
            expert, start = i32(args[1])[number], starts[number]
            piece_of(
                starts[number + 1] - start,
                args[3],
                args[4],
                args[5] + 4 * rows * start,
                rows,
                columns,
                args[8] + 4 * rows * expert if args[8] else 0,
                expert,
                0 if args[9] else start,
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
        super_bytes, width, most = form.super_bytes, form.blocks * BLOCK, dots_for(isa).tokens

        @njit
        def piece(tokens, x, weights, out, rows, columns, bias, expert, start, first, stop):
            group_bytes, step = columns // width * super_bytes, columns // BLOCK * LINE
            groups = (rows + ROWS - 1) // ROWS
            batch = max(most, _CACHED_BYTES // step // most * most)
            for begin in range(0, tokens, batch):
                lines, onward = x + (start + begin) * step, out + 4 * rows * begin
                count = min(batch, tokens - begin)
                for group in range(first, stop):
                    address = weights + (expert * groups + group) * group_bytes
                    tiles(count, lines, address, onward, rows, group * ROWS, columns, bias, 0)

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
