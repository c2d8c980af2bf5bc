"""The products of attention over one tile of keys, as intrinsics.

A row is a query head of a token. For a row every sum has one order, whatever other rows share its
loads: scores add column after column, and the output key after key. So a token's attention has the
same bits in a prompt, in any chunk of it, and alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from forge_cpu.isa import Isa
from forge_cpu.kernels.cells import Cells, group_size, row_size, scaled
from forge_cpu.kernels.lanes import LANES, Number, constant, load, ranged, splat, store
from forge_cpu.kernels.vectors import F32, I64, prefetch, word
from forge_cpu.kv import BLOCK, TILE

ROWS = 8
"""Rows whose queries lie side by side, column by column."""
LINE = 64
"""Bytes of a vector."""

_AHEAD = 2048
"""Bytes of values that are fetched ahead."""

_FLOATS = ir.VectorType(F32, LANES)


@dataclass(frozen=True, slots=True)
class Blocking:
    """How many sums the registers hold, as rows and vectors, of scores and of outputs."""

    score_rows: int
    score_vectors: int
    value_rows: int
    value_vectors: int


def blocking(isa: Isa) -> Blocking:
    """32 registers of a vector each, or 16 of half a vector."""
    return Blocking(8, 2, 6, 4) if isa is Isa.AVX512VNNI else Blocking(4, 1, 3, 2)


def scores(cells: Cells, shape: Blocking, *, ahead: bool = False) -> Any:
    """An intrinsic: queries [size, ROWS] times keys in groups, to out [rows, TILE].

    Groups come in pairs; `rows` is at most shape.score_rows. With `ahead` keys are fetched before
    their turn: a single token's come from memory, and are used once.
    """

    @intrinsic
    def apply(
        typing: Any, rows: Any, queries: Any, size: Any, keys: Any, groups: Any, out: Any
    ) -> Any:
        """Scores of `rows` rows for `groups` groups of keys, not yet masked."""
        del typing, rows, queries, size, keys, groups, out

        def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> ir.Value:
            rows, *rest = arguments
            for count in _cases(builder, rows, shape.score_rows):
                _scores(builder, cells, ahead, count, shape.score_vectors, *rest)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), generate

    return apply


def _scores(
    builder: ir.IRBuilder,
    cells: Cells,
    ahead: bool,
    rows: int,
    vectors: int,
    queries: ir.Value,
    size: ir.Value,
    keys: ir.Value,
    groups: ir.Value,
    out: ir.Value,
) -> None:
    column_bytes = cells.bytes * LANES
    group_bytes = group_size(builder, cells, size)
    with ranged(builder, word(0), groups, vectors) as group:
        base = builder.add(keys, builder.mul(group, group_bytes))
        bases = [builder.add(base, builder.mul(group_bytes, word(v))) for v in range(vectors)]
        sums = _zeros(builder, rows * vectors)

        def columns(start: ir.Value, stop: ir.Value, scales: Sequence[Number] | None) -> None:
            with ranged(builder, start, stop, 1) as column:
                offset = builder.mul(column, word(column_bytes))
                loaded = scaled([cells.vector(builder, b, offset) for b in bases], scales)
                if ahead:
                    for b in bases:  # the same stream's next group
                        onward = builder.add(b, builder.mul(group_bytes, word(vectors)))
                        prefetch(builder, builder.add(onward, offset), 0)
                at = builder.mul(column, word(4 * ROWS))
                for row in range(rows):
                    query = _same(builder, queries, builder.add(at, word(4 * row)))
                    for v, key in enumerate(loaded):
                        _add(builder, sums[row * vectors + v], query, key)

        if cells.kind == "q8_0":
            with ranged(builder, word(0), size, BLOCK) as start:
                end = builder.add(start, word(BLOCK))
                stop = builder.select(builder.icmp_signed("<", end, size), end, size)
                at = builder.add(builder.mul(size, word(LANES)), start)  # 32 bytes for 32 columns
                columns(start, stop, [cells.halves(builder, b, at) for b in bases])
        else:
            columns(word(0), size, None)
        target = builder.add(out, builder.mul(group, word(LINE)))
        for row in range(rows):
            for v in range(vectors):
                value = builder.load(sums[row * vectors + v])
                store(builder, value, target, 4 * TILE * row + LINE * v)


def weigh(cells: Cells, shape: Blocking, *, ahead: bool = False) -> Any:
    """An intrinsic: sums [rows, stride] += weights [rows, TILE] times the rows of values.

    With `ahead` values are fetched before their turn.
    """

    @intrinsic
    def apply(
        typing: Any,
        rows: Any,
        weights: Any,
        first: Any,
        last: Any,
        values: Any,
        width: Any,
        sums: Any,
        stride: Any,
    ) -> Any:
        """Keys from `first` to before `last` of the tile; `width` is in vectors."""
        del typing, rows, weights, first, last, values, width, sums, stride

        def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> ir.Value:
            rows, weights, first, last, values, width, sums, stride = arguments
            most = word(shape.value_vectors)
            whole = builder.mul(builder.sdiv(width, most), most)
            parts = (word(0), whole, shape.value_vectors), (whole, width, 1)
            given = weights, first, last, values, width, sums, stride
            for count in _cases(builder, rows, shape.value_rows):
                for start, stop, vectors in parts:
                    with ranged(builder, start, stop, vectors) as column:
                        _weigh(builder, cells, ahead, count, vectors, column, *given)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), generate

    return apply


def _weigh(
    builder: ir.IRBuilder,
    cells: Cells,
    ahead: bool,
    rows: int,
    vectors: int,
    column: ir.Value,
    weights: ir.Value,
    first: ir.Value,
    last: ir.Value,
    values: ir.Value,
    width: ir.Value,
    sums: ir.Value,
    stride: ir.Value,
) -> None:
    row_bytes = row_size(builder, cells, width)
    left = builder.add(values, builder.mul(column, word(cells.bytes * LANES)))
    scale_at = builder.add(
        values,
        builder.add(
            builder.mul(width, word(LANES)),
            builder.mul(builder.sdiv(column, word(BLOCK // LANES)), word(2)),
        ),
    )
    target = builder.add(sums, builder.mul(column, word(LINE)))
    targets = [builder.add(target, builder.mul(stride, word(row))) for row in range(rows)]
    places = [(address, LINE * v) for address in targets for v in range(vectors)]
    kept = [cgutils.alloca_once(builder, _FLOATS) for _ in places]
    for pointer, (address, offset) in zip(kept, places, strict=True):
        builder.store(load(builder, address, _FLOATS, offset), pointer)
    with ranged(builder, first, last, 1) as key:
        offset = builder.mul(key, row_bytes)
        loaded = [
            cells.vector(builder, left, builder.add(offset, word(cells.bytes * LANES * v)))
            for v in range(vectors)
        ]
        if ahead:
            for line in range(0, cells.bytes * LANES * vectors, LINE):
                prefetch(builder, builder.add(left, offset), _AHEAD + line)
        if cells.kind == "q8_0":
            scales = [
                cells.same(builder, scale_at, builder.add(offset, word(2 * block)))
                for block in range(max(1, vectors * LANES // BLOCK))
            ]
            loaded = scaled(loaded, [scales[v * LANES // BLOCK] for v in range(vectors)])
        at = builder.mul(key, word(4))
        for row in range(rows):
            weight = _same(builder, weights, builder.add(at, word(4 * TILE * row)))
            for v, value in enumerate(loaded):
                _add(builder, kept[row * vectors + v], weight, value)
    for pointer, (address, offset) in zip(kept, places, strict=True):
        store(builder, builder.load(pointer), address, offset)


def _cases(builder: ir.IRBuilder, value: ir.Value, most: int) -> Iterator[int]:
    """Each of 1 … most in turn, with the builder in its branch of a switch."""
    function = builder.function
    end = function.append_basic_block("cases.end")
    switch = builder.switch(value, end)
    for case in range(1, most + 1):
        block = function.append_basic_block(f"case.{case}")
        switch.add_case(ir.Constant(I64, case), block)
        builder.position_at_end(block)
        yield case
        builder.branch(end)
    builder.position_at_end(end)


def _zeros(builder: ir.IRBuilder, count: int) -> list[ir.Value]:
    zero = constant(_FLOATS, 0.0)
    pointers = [cgutils.alloca_once(builder, _FLOATS) for _ in range(count)]
    for pointer in pointers:
        builder.store(zero, pointer)
    return pointers


def _same(builder: ir.IRBuilder, address: ir.Value, offset: ir.Value) -> Number:
    """A float32 in all lanes."""
    return Number(builder, splat(builder, load(builder, address, F32, offset)))


def _add(builder: ir.IRBuilder, pointer: ir.Value, factor: Number, value: Number) -> None:
    """*pointer += factor × value."""
    before = Number(builder, builder.load(pointer))
    builder.store(factor.times_plus(value, before).value, pointer)
