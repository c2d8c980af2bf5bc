"""How keys and values lie in the cache, and how vectors of them are read as float32.

Keys come in groups of 16 tokens, column by column, so that one vector holds the same column of 16
keys and a score needs no sum across lanes. Values are rows, padded to whole vectors. In q8_0 a
group ends with the scales of each 32 columns (16 keys each), and a row with those of its columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from forge_cpu.kernels.lanes import LANES, Number, load, splat
from forge_cpu.kernels.vectors import F16, F32, I8, I16, I32, word
from forge_cpu.kv import BLOCK, KIND_BYTES

_FLOATS = ir.VectorType(F32, LANES)


@dataclass(frozen=True, slots=True)
class Cells:
    """Reads one kind of cache; `half` tells whether the processor converts half precision."""

    kind: str
    half: bool

    @property
    def bytes(self) -> int:
        """Of one number, scales apart."""
        return KIND_BYTES[self.kind]

    def vector(
        self, builder: ir.IRBuilder, address: ir.Value, offset: ir.Value | int = 0
    ) -> Number:
        """Sixteen numbers in a row; of q8_0 without their scale."""
        if self.kind == "f32":
            return Number(builder, load(builder, address, _FLOATS, offset))
        if self.kind == "f16":
            return self.halves(builder, address, offset)
        codes = load(builder, address, ir.VectorType(I8, LANES), offset)
        return Number(builder, builder.sitofp(codes, _FLOATS))

    def halves(
        self, builder: ir.IRBuilder, address: ir.Value, offset: ir.Value | int = 0
    ) -> Number:
        """Sixteen half-precision numbers in a row."""
        if self.half:
            return Number(
                builder,
                builder.fpext(load(builder, address, ir.VectorType(F16, LANES), offset), _FLOATS),
            )
        return widen(builder, load(builder, address, ir.VectorType(I16, LANES), offset))

    def same(self, builder: ir.IRBuilder, address: ir.Value, offset: ir.Value | int = 0) -> Number:
        """One half-precision number in all lanes."""
        bits = load(builder, address, I16, offset)
        if self.half:
            return Number(builder, splat(builder, builder.fpext(builder.bitcast(bits, F16), F32)))
        return Number(builder, splat(builder, widen(builder, bits).value))


def widen(builder: ir.IRBuilder, bits: ir.Value) -> Number:
    """Half precision as float32 by integer arithmetic, for processors that have no instruction.

    Exponent and fraction move into place and the product with 2^112 mends the bias, also of
    subnormal numbers; infinity and NaN get the largest exponent.
    """
    many = isinstance(bits.type, ir.VectorType)
    ints = ir.VectorType(I32, LANES) if many else I32
    floats = _FLOATS if many else F32

    def same(value: int) -> ir.Constant:
        return ir.Constant(ints, [value] * LANES if many else value)

    wide = builder.zext(bits, ints)
    sign = builder.shl(builder.and_(wide, same(0x8000)), same(16))
    moved = builder.shl(builder.and_(wide, same(0x7FFF)), same(13))
    scaled = (Number(builder, builder.bitcast(moved, floats)) * 2.0**112).bits()
    special = builder.icmp_unsigned(">=", moved, same(0x7C00 << 13))
    magnitude = builder.select(special, builder.or_(moved, same(0x7F800000)), scaled)
    return Number(builder, builder.bitcast(builder.or_(magnitude, sign), floats))


def scaled(vectors: Sequence[Number], scales: Sequence[Number] | None) -> list[Number]:
    """The vectors times their scales, where there are any."""
    if scales is None:
        return list(vectors)
    return [vector * scale for vector, scale in zip(vectors, scales, strict=True)]


def group_size(builder: ir.IRBuilder, cells: Cells, size: ir.Value) -> ir.Value:
    """Bytes of a group of keys."""
    return builder.add(
        builder.mul(size, word(cells.bytes * LANES)),
        builder.mul(_scales(builder, cells, size), word(2 * LANES)),
    )


def row_size(builder: ir.IRBuilder, cells: Cells, width: ir.Value) -> ir.Value:
    """Bytes of a row of values, `width` vectors wide."""
    columns = builder.mul(width, word(LANES))
    return builder.add(
        builder.mul(columns, word(cells.bytes)),
        builder.mul(_scales(builder, cells, columns), word(2)),
    )


def _scales(builder: ir.IRBuilder, cells: Cells, columns: ir.Value) -> ir.Value:
    if cells.kind != "q8_0":
        return word(0)
    return builder.sdiv(builder.add(columns, word(BLOCK - 1)), word(BLOCK))
