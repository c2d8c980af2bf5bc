"""Matrix products over packed weights, one kernel for each weight type.

Arguments: (address of the count of tokens, lines of quantised activations, packed weights,
out float32 [tokens, rows], rows, columns, bias or 0, residual like out or 0, the address of a
counter). Bias [rows] and then the residual are added to the products. The counter is an int64 of 0,
from which threads take their share of the work, piece by piece: a slow one holds up no other.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from forge_cpu.formats import BLOCK, FORMATS, LINE, ROWS, Format
from forge_cpu.isa import Isa
from forge_cpu.kernels.dots import dots_for
from forge_cpu.kernels.kernel import Function, Kernel, kernel_for_isa
from forge_cpu.kernels.pieces import take_piece
from forge_cpu.kernels.pointers import f32, i64
from forge_cpu.kernels.tile import stack_floats, tile_for

_CACHED_BYTES = 256 << 10
"""Lines of activations that stay in the second-level cache while the weights pass by."""
_PIECES = 8
"""Pieces of the work for each thread, at most."""


@njit
def finish(products, tokens, out, rows, row, bias, residual):
    """Put a tile's products where they belong, with what is added to them."""
    count = min(ROWS, rows - row)
    for token in range(tokens):
        source, target = f32(products + 4 * ROWS * token), f32(out + 4 * (rows * token + row))
        if bias:
            added = f32(bias + 4 * row)
            for i in range(count):
                source[i] += added[i]
        if residual:
            before = f32(residual + 4 * (rows * token + row))
            for i in range(count):
                source[i] += before[i]
        for i in range(count):
            target[i] = source[i]


def tiles_for(form: Format, isa: Isa) -> Callable[..., None]:
    """Any number of tokens against one group of rows, in the largest tiles that there are."""
    most = dots_for(isa).tokens
    wide, pair, single = (tile_for(form, isa, n) for n in (most, 2, 1))
    stack = stack_floats(most * ROWS)
    width = form.blocks * BLOCK

    @njit
    def tiles(tokens, x, weights, out, rows, row, columns, bias, residual):
        products = stack()
        step = columns // BLOCK * LINE
        token = 0
        while token < tokens:
            place, onward = x + token * step, out + 4 * rows * token
            before = residual + 4 * rows * token if residual else 0
            left = tokens - token
            if left >= most:
                done = most
                wide(place, weights, products, columns // width, step)
            elif left >= 2:
                done = 2
                pair(place, weights, products, columns // width, step)
            else:
                done = 1
                single(place, weights, products, columns // width, step)
            finish(products, done, onward, rows, row, bias, before)
            token += done

    return tiles


def _product(kind: str) -> Kernel:
    form = FORMATS[kind]

    @kernel_for_isa
    def build(isa: Isa) -> Function:
        tiles = tiles_for(form, isa)
        super_bytes, width, most = form.super_bytes, form.blocks * BLOCK, dots_for(isa).tokens

        def product(args, thread, threads):
            tokens, rows, columns = i64(args[0])[0], args[4], args[5]
            groups = (rows + ROWS - 1) // ROWS
            group_bytes = columns // width * super_bytes
            step = columns // BLOCK * LINE
            batch = max(most, _CACHED_BYTES // step // most * most)
            together = max(1, groups // (_PIECES * threads))
            pieces = (groups + together - 1) // together
            count = (tokens + batch - 1) // batch * pieces
            next_piece = args[8]
            piece = take_piece(next_piece, count, threads)
            while piece < count:
                first, place = piece // pieces * batch, piece % pieces * together
                x, out = args[1] + first * step, args[3] + 4 * rows * first
                residual = args[7] + 4 * rows * first if args[7] else 0
                for group in range(place, min(groups, place + together)):
                    tiles(
                        min(batch, tokens - first),
                        x,
                        args[2] + group * group_bytes,
                        out,
                        rows,
                        group * ROWS,
                        columns,
                        args[6],
                        residual,
                    )
                piece = take_piece(next_piece, count, threads)

        return product

    return build


q4_0 = _product("q4_0")
q4_1 = _product("q4_1")
q5_0 = _product("q5_0")
q5_1 = _product("q5_1")
q8_0 = _product("q8_0")
q2_k = _product("q2_k")
q3_k = _product("q3_k")
q4_k = _product("q4_k")
q5_k = _product("q5_k")
q6_k = _product("q6_k")
iq4_nl = _product("iq4_nl")
iq4_xs = _product("iq4_xs")
mxfp4 = _product("mxfp4")
