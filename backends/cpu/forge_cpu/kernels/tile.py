"""The heart of the matrix products: 16 packed rows times a few quantised tokens.

Every (row, token) sees the same operations in the same order whatever the tile, so the result does
not depend on how tokens were put together.
"""

from __future__ import annotations

import hashlib
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from forge_cpu.formats import BLOCK, LINE, ROWS, Format
from forge_cpu.isa import Isa
from forge_cpu.kernels.codes import Codes
from forge_cpu.kernels.dots import Dots, dots_for
from forge_cpu.kernels.externals import external
from forge_cpu.kernels.vectors import (
    F32,
    I8,
    I32,
    I64,
    call,
    constant,
    halves_to_floats,
    load,
    prefetch,
    splat,
    vector,
    word,
)

# Byte offsets of the words of a line of activations; forge_cpu.kernels.quantise writes them.
SCALE, TOTAL, BY_8, BY_128, LOW_BY_4, HIGH_BY_4, LOW_TOTAL, HIGH_TOTAL = range(32, 64, 4)
_HALF = 4
"""Vectors of half a block."""
AHEAD = 2048
"""Bytes of weights that are fetched ahead for a single token: a stream whose blocks take many
instructions leaves memory idle otherwise (Q4_K: 27 GB/s without, 43 with, of 45)."""


def tile_for(form: Format, isa: Isa, tokens: int) -> Any:
    """The tile as a function for kernels: (x, weights, out, super-blocks, bytes between tokens).

    `x` is the first token's first line, `weights` the group, `out` float32 [tokens, 16].
    """
    name = hashlib.sha256(repr((form, isa, tokens)).encode()).hexdigest()[:16]
    return external(
        f"forge_tile_{name}",
        lambda builder, arguments: emit_tile(builder, form, isa, tokens, arguments),
    )


def emit_tile(builder: Any, form: Format, isa: Isa, tokens: int, arguments: Any) -> None:
    """As many rows at a time as a vector has lanes."""
    lanes = dots_for(isa).lanes
    if lanes == ROWS:
        _Tile(builder, form, isa, tokens, word(0)).emit(*arguments)
        return
    with cgutils.for_range(builder, word(ROWS // lanes)) as loop:
        row = builder.mul(loop.index, word(lanes))
        _Tile(builder, form, isa, tokens, row).emit(*arguments)


class _Tile:
    """Emits the loops for as many rows as a vector has lanes."""

    def __init__(self, builder: Any, form: Format, isa: Isa, tokens: int, row: Any) -> None:
        self.builder, self.form, self.isa, self.tokens, self.row = builder, form, isa, tokens, row
        self.lanes = dots_for(isa).lanes
        self.floats, self.ints = vector(F32, self.lanes), vector(I32, self.lanes)

    def emit(self, x: Any, weights: Any, out: Any, supers: Any, step: Any) -> None:
        """Super-blocks, their blocks, and the sums' way out."""
        builder, form = self.builder, self.form
        zero = constant(F32, self.lanes, 0.0)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(self.tokens)]
        for total in sums:
            builder.store(zero, total)
        lines = [x]
        for _ in range(1, self.tokens):
            lines.append(builder.add(lines[-1], step))
        with cgutils.for_range(builder, supers) as loop:
            start = builder.add(weights, builder.mul(loop.index, word(form.super_bytes)))
            factors = self._factors(start)
            first = builder.mul(loop.index, word(form.blocks * LINE))
            with cgutils.for_range(builder, word(form.blocks)) as inner:
                line = builder.add(first, builder.mul(inner.index, word(LINE)))
                here = [builder.add(token, line) for token in lines]
                self._block(start, inner.index, factors, here, sums)
        for token, total in enumerate(sums):
            place = self._of_row(builder.add(out, word(4 * ROWS * token)), 4)
            builder.store(
                builder.load(total), builder.inttoptr(place, self.floats.as_pointer()), align=4
            )

    def _block(self, start: Any, block: Any, factors: Any, lines: list[Any], sums: Any) -> None:
        builder, form = self.builder, self.form
        address = builder.add(start, builder.mul(block, word(form.code_bytes)))
        if self.tokens == 1:
            for line in range(0, form.super_bytes // form.blocks, LINE):
                prefetch(builder, address, AHEAD + line)
        address = self._of_row(address, 4)
        dots = dots_for(self.isa)(builder, form)
        codes = Codes(builder, form, self.isa, self.lanes, address)
        parts = 2 if form.halves else 1  # one after the other: the registers hold sums of one
        for part in range(parts):
            running = [dots.begin(self._start(dots, line, part)) for line in lines]
            for number in range(part * _HALF, BLOCK // 4 if part + 1 == parts else _HALF):
                known = dots.weights(codes.vector(number))
                for token, line in enumerate(lines):
                    x = splat(builder, load(builder, line, 4 * number, I32), self.lanes)
                    running[token] = dots.add(running[token], known, x)
            found = [dots.end(total) for total in running]
            scale = self._scale(start, block, factors, part)
            minimum = self._minimum(start, block, factors, part)
            place = (LOW_TOTAL, HIGH_TOTAL)[part] if form.halves else TOTAL
            self._scaled(scale, minimum, place, lines, found, sums)

    def _start(self, dots: Dots, line: Any, part: int) -> Any:
        """What a sum begins with: minus the offset's share."""
        form, builder = self.form, self.builder
        offset = 128 if form.table else form.offset
        if not offset or not dots.starts_from_offset:
            return constant(I32, self.lanes, 0)
        known: dict[int, tuple[int, ...]] = {
            4: (LOW_BY_4, HIGH_BY_4),
            32: (LOW_BY_4, HIGH_BY_4),
            8: (BY_8,),
            16: (BY_8,),
            128: (BY_128,),
        }
        times = {16: 1, 32: 3}.get(offset, 0)
        start = splat(builder, load(builder, line, known[offset][part], I32), self.lanes)
        return builder.shl(start, constant(I32, self.lanes, times)) if times else start

    def _scaled(
        self,
        scale: Any,
        minimum: Any | None,
        place: int,
        lines: list[Any],
        found: list[Any],
        sums: list[Any],
    ) -> None:
        """Each token's sum times its scales joins its total."""
        builder = self.builder
        for line, whole, total in zip(lines, found, sums, strict=True):
            own = builder.fmul(scale, self._spread(line, SCALE))
            value = self._multiply_add(own, builder.sitofp(whole, self.floats), builder.load(total))
            if minimum is not None:
                value = self._multiply_add(minimum, self._spread(line, place), value)
            builder.store(value, total)

    def _spread(self, line: Any, offset: int) -> Any:
        return splat(self.builder, load(self.builder, line, offset, F32), self.lanes)

    def _multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """Rounded once where the processor can."""
        name = "fmuladd" if self.isa is Isa.GENERIC else "fma"
        return call(self.builder, f"llvm.{name}.v{self.lanes}f32", self.floats, [a, b, c])

    def _of_row(self, address: Any, size: int) -> Any:
        """Where the first of our rows is, among rows of so many bytes from `address` on."""
        return self.builder.add(address, self.builder.mul(self.row, word(size)))

    def _factors(self, start: Any) -> list[Any]:
        address, at = self._of_row(start, 2), self.form.factors_at
        return [
            halves_to_floats(self.builder, address, at + 2 * ROWS * number, self.lanes)
            for number in range(self.form.factors)
        ]

    def _scale(self, start: Any, block: Any, factors: Any, part: int) -> Any:
        """What the sum of a block, or of its half, is multiplied by."""
        builder, form = self.builder, self.form
        address = builder.add(start, builder.mul(block, word(form.scale_bytes)))
        at = form.scales_at + ROWS * part
        if form.scales == "f16":
            return halves_to_floats(builder, self._of_row(address, 2), at, self.lanes)
        if form.scales == "e8m0":
            return self._powers(self._bytes(address, at))
        found = self._bytes(address, at)
        if form.scales == "nibbles":
            found = builder.and_(found, constant(I32, self.lanes, 15))
        return builder.fmul(builder.sitofp(found, self.floats), factors[0])

    def _minimum(self, start: Any, block: Any, factors: Any, part: int) -> Any | None:
        """What the sum of x in a block, or in its half, is multiplied by."""
        builder, form = self.builder, self.form
        if not form.minima:
            return None
        address = builder.add(start, builder.mul(block, word(form.scale_bytes)))
        if form.scales == "f16":
            return halves_to_floats(builder, self._of_row(address, 2), form.minima_at, self.lanes)
        if form.scales == "nibbles":
            found = self._bytes(address, form.scales_at + part * ROWS)
            found = builder.lshr(found, constant(I32, self.lanes, 4))
        else:
            found = self._bytes(address, form.minima_at)
        return builder.fmul(builder.sitofp(found, self.floats), builder.fneg(factors[1]))

    def _bytes(self, address: Any, at: int) -> Any:
        """A byte of each row as int32, signed where the format's scales are."""
        loaded = load(self.builder, self._of_row(address, 1), at, vector(I8, self.lanes))
        widen = self.builder.sext if self.form.scales == "i8" else self.builder.zext
        return widen(loaded, self.ints)

    def _powers(self, exponents: Any) -> Any:
        """2^(e - 128) (halved, for the table is doubled); the two least are subnormal."""
        builder = self.builder
        one, two = constant(I32, self.lanes, 1), constant(I32, self.lanes, 2)
        normal = builder.shl(builder.sub(exponents, one), constant(I32, self.lanes, 23))
        small = builder.shl(constant(I32, self.lanes, 0x200000), exponents)
        is_small = builder.icmp_unsigned("<", exponents, two)
        return builder.bitcast(builder.select(is_small, small, normal), self.floats)


def stack_floats(count: int) -> Any:
    """A function for kernels: the address of `count` floats of this call's stack, on a line."""

    @intrinsic
    def stack(typing: Any) -> Any:
        """The address."""
        del typing

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            del context, signature, arguments
            place = cgutils.alloca_once(builder, ir.ArrayType(F32, count))
            place.align = 64
            return builder.ptrtoint(place, I64)

        return types.int64(), generate

    return stack
