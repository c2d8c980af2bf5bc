"""Matrix products with weights of F32, F16 and BF16 as the file has them, summed in float32.

Arguments: as those of forge_cpu.kernels.matmul, but x is float32 [tokens, columns] and the weights
are [rows, columns]. Each (row, token) has its own sums, one a lane, in the order of the columns:
the same whatever the tile.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import njit
from numba.core import cgutils

from forge_cpu.isa import Isa
from forge_cpu.kernels import pointers
from forge_cpu.kernels.externals import external
from forge_cpu.kernels.kernel import Function, Kernel, kernel_for_isa
from forge_cpu.kernels.pieces import take_piece
from forge_cpu.kernels.pointers import i64
from forge_cpu.kernels.tile import stack_floats
from forge_cpu.kernels.vectors import F16, F32, I16, I32, call, constant, load, vector, word

SIZES = {"f32": 4, "f16": 2, "bf16": 2}
"""Bytes of a weight."""
_LANES = {Isa.AVX512VNNI: 16, Isa.AVX2: 8, Isa.NEON: 4, Isa.GENERIC: 4}
ROWS = {Isa.AVX512VNNI: 4, Isa.AVX2: 2, Isa.NEON: 4, Isa.GENERIC: 2}
"""Of a tile."""
_TOKENS = 4
"""Of a tile: with the rows, as many sums as there are registers for."""
_CACHED_BYTES = 256 << 10
"""Weights that stay in the second-level cache while the tokens pass by."""
_PIECES = 8


def tile_for(kind: str, isa: Isa, tokens: int) -> Any:
    """(x, weights, out, columns, last row): the products of some rows and tokens.

    `out` is float32 [tokens, rows of a tile]; rows past the last repeat it.
    """

    return external(
        f"forge_dense_{kind}_{isa}_{tokens}",
        lambda builder, arguments: _Tile(builder, kind, isa, tokens).emit(*arguments),
    )


class _Tile:
    """Emits the loop over the columns."""

    def __init__(self, builder: Any, kind: str, isa: Isa, tokens: int) -> None:
        self.builder, self.kind, self.isa, self.tokens = builder, kind, isa, tokens
        self.lanes, self.rows = _LANES[isa], ROWS[isa]
        self.floats = vector(F32, self.lanes)

    def emit(self, x: Any, weights: Any, out: Any, columns: Any, last: Any) -> None:
        """Whole vectors, then what is left column by column, then the lanes' sums."""
        builder, size = self.builder, SIZES[self.kind]
        zero = constant(F32, self.lanes, 0.0)
        places = range(self.tokens * self.rows)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in places]
        rest = [cgutils.alloca_once_value(builder, ir.Constant(F32, 0.0)) for _ in places]
        for total in sums:
            builder.store(zero, total)
        for total in rest:
            builder.store(ir.Constant(F32, 0.0), total)
        width = builder.mul(columns, word(size))
        lines = [
            builder.add(weights, builder.mul(self._row(n, last), width)) for n in range(self.rows)
        ]
        step = builder.mul(columns, word(4))
        tokens = [builder.add(x, builder.mul(step, word(n))) for n in range(self.tokens)]
        whole = builder.udiv(columns, word(self.lanes))
        with cgutils.for_range(builder, whole) as loop:
            start = builder.mul(loop.index, word(self.lanes))
            self._multiply(lines, tokens, start, sums, self.lanes)
        first = builder.mul(whole, word(self.lanes))
        with cgutils.for_range(builder, builder.sub(columns, first)) as loop:
            self._multiply(lines, tokens, builder.add(first, loop.index), rest, 1)
        for place in places:
            total = self._across(builder.load(sums[place]))
            total = builder.fadd(total, builder.load(rest[place]))
            target = builder.add(out, word(4 * place))
            builder.store(total, builder.inttoptr(target, F32.as_pointer()), align=4)

    def _row(self, number: int, last: Any) -> Any:
        beyond = self.builder.icmp_signed(">", word(number), last)
        return self.builder.select(beyond, last, word(number))

    def _multiply(
        self, lines: list[Any], tokens: list[Any], start: Any, sums: list[Any], lanes: int
    ) -> None:
        builder = self.builder
        numbers = [self._weights(builder.add(line, self._bytes(start)), lanes) for line in lines]
        kind = vector(F32, lanes) if lanes > 1 else F32
        for token, address in enumerate(tokens):
            x = load(builder, builder.add(address, builder.mul(start, word(4))), 0, kind)
            for row, number in enumerate(numbers):
                total = sums[token * self.rows + row]
                value = self._multiply_add(number, x, builder.load(total), kind, lanes)
                builder.store(value, total)

    def _bytes(self, start: Any) -> Any:
        return self.builder.mul(start, word(SIZES[self.kind]))

    def _weights(self, address: Any, lanes: int) -> Any:
        """Float32 from what is stored."""
        builder = self.builder

        def shaped(element: Any) -> Any:
            return vector(element, lanes) if lanes > 1 else element

        if self.kind == "f32":
            return load(builder, address, 0, shaped(F32))
        stored = load(builder, address, 0, shaped(I16))
        if self.kind == "f16":
            return builder.fpext(builder.bitcast(stored, shaped(F16)), shaped(F32))
        shift = constant(I32, lanes, 16) if lanes > 1 else ir.Constant(I32, 16)
        return builder.bitcast(builder.shl(builder.zext(stored, shaped(I32)), shift), shaped(F32))

    def _multiply_add(self, a: Any, b: Any, c: Any, kind: Any, lanes: int) -> Any:
        name = "fmuladd" if self.isa is Isa.GENERIC else "fma"
        suffix = f"v{lanes}f32" if lanes > 1 else "f32"
        return call(self.builder, f"llvm.{name}.{suffix}", kind, [a, b, c])

    def _across(self, value: Any) -> Any:
        """The sum of the lanes: halves onto halves."""
        builder, lanes = self.builder, self.lanes
        while lanes > 1:
            lanes //= 2
            low, high = (
                builder.shuffle_vector(
                    value, value, ir.Constant(vector(I32, lanes), list(range(at, at + lanes)))
                )
                for at in (0, lanes)
            )
            value = builder.fadd(low, high)
        return builder.extract_element(value, ir.Constant(I32, 0))


def _finisher(height: int) -> Callable[..., None]:
    @njit
    def finish(products, tokens, out, rows, row, bias, residual):
        """Put a tile's products where they belong, with what is added to them."""
        for token in range(tokens):
            source, place = pointers.f32(products + 4 * height * token), rows * token + row
            for i in range(min(height, rows - row)):
                value = source[i]
                if bias:
                    value += pointers.f32(bias)[row + i]
                if residual:
                    value += pointers.f32(residual)[place + i]
                pointers.f32(out)[place + i] = value

    return finish


def tiles_for(kind: str, isa: Isa) -> Callable[..., None]:
    """Rows `first` to `stop` against any number of tokens."""
    wide, single = tile_for(kind, isa, _TOKENS), tile_for(kind, isa, 1)
    height, size = ROWS[isa], SIZES[kind]
    stack, finish = stack_floats(_TOKENS * height), _finisher(height)

    @njit
    def tiles(tokens, x, weights, out, rows, columns, bias, residual, first, stop):
        products = stack()
        token = 0
        while token < tokens:
            done = _TOKENS if tokens - token >= _TOKENS else 1
            place, onward = x + 4 * columns * token, out + 4 * rows * token
            before = residual + 4 * rows * token if residual else 0
            for row in range(first, stop, height):
                line = weights + size * columns * row
                if done == 1:
                    single(place, line, products, columns, stop - 1 - row)
                else:
                    wide(place, line, products, columns, stop - 1 - row)
                finish(products, done, onward, rows, row, bias, before)
            token += done

    return tiles


def _product(kind: str) -> Kernel:
    @kernel_for_isa
    def build(isa: Isa) -> Function:
        tiles, height, size = tiles_for(kind, isa), ROWS[isa], SIZES[kind]

        def product(args, thread, threads):
            tokens, rows, columns = i64(args[0])[0], args[4], args[5]
            together = min(rows // (_PIECES * threads), _CACHED_BYTES // (size * columns))
            together = max(height, together // height * height)
            count = (rows + together - 1) // together
            next_piece = args[8]
            piece = take_piece(next_piece, count, threads)
            while piece < count:
                first = piece * together
                tiles(
                    tokens,
                    args[1],
                    args[2],
                    args[3],
                    rows,
                    columns,
                    args[6],
                    args[7],
                    first,
                    min(rows, first + together),
                )
                piece = take_piece(next_piece, count, threads)

        return product

    return build


f32 = _product("f32")
f16 = _product("f16")
bf16 = _product("bf16")
