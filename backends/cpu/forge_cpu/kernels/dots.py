"""Sums of four products, u8 x s8 into int32, in each instruction set.

All of them are exact, so every instruction set has the same sums.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from llvmlite import ir

from forge_cpu.formats import Format
from forge_cpu.isa import Isa
from forge_cpu.kernels.vectors import I8, I16, I32, call, constant, vector


class Dots(ABC):
    """Running sums for several tokens; `lanes` rows at a time."""

    lanes: int
    tokens: int
    """Of a tile: as many as leave registers for the rest."""
    starts_from_offset = True
    """Whether the codes are unsigned, so that a sum must begin with -offset times the sum of x."""

    def __init__(self, builder: Any, form: Format) -> None:
        self.builder = builder
        self.form = form

    def weights(self, codes: Any) -> Any:
        """What `add` wants to know of the codes [lanes x 4], once for all tokens."""
        return codes

    @abstractmethod
    def begin(self, start: Any) -> Any:
        """A sum that starts from an int32 vector."""

    @abstractmethod
    def add(self, total: Any, weights: Any, x: Any) -> Any:
        """The sum with four more products a lane; x is four int8 in every lane."""

    @abstractmethod
    def end(self, total: Any) -> Any:
        """The sum as an int32 vector."""


class VnniDots(Dots):
    """AVX-512 VNNI: one instruction."""

    lanes = 16
    tokens = 8

    def begin(self, start: Any) -> Any:
        """The instruction adds to what is there."""
        return start

    def add(self, total: Any, weights: Any, x: Any) -> Any:
        """VPDPBUSD."""
        # The operands as words: newer versions of LLVM, which have bytes here, translate.
        sums = vector(I32, 16)
        arguments = [total, self.builder.bitcast(weights, sums), x]
        return call(self.builder, "llvm.x86.avx512.vpdpbusd.512", sums, arguments)

    def end(self, total: Any) -> Any:
        """It is one already."""
        return total


class Avx2Dots(Dots):
    """VPMADDUBSW, whose pairs saturate in int16: as many pairs are summed there as cannot."""

    lanes = 8
    tokens = 4

    def __init__(self, builder: Any, form: Format) -> None:
        super().__init__(builder, form)
        self.signed = form.largest > 127
        # |sum of two products| <= 2 x largest x 127; signed codes are taken as |w| x (sign(w) x).
        self.pairs = 1 if self.signed else 32767 // (2 * 127 * form.largest)
        self.starts_from_offset = not self.signed

    def weights(self, codes: Any) -> Any:
        """Codes of 8 bits are biased by 128: as they are, and their absolute values."""
        if not self.signed:
            return codes
        builder, kind = self.builder, vector(I8, 32)
        signed = builder.xor(builder.bitcast(codes, kind), ir.Constant(kind, [-128] * 32))
        negative = builder.icmp_signed("<", signed, ir.Constant(kind, [0] * 32))
        positive = builder.select(negative, builder.neg(signed), signed)
        return signed, positive

    def begin(self, start: Any) -> Any:
        """int32 sums; int16 sums not yet added to them, and how many pairs they hold."""
        return start, None, 0

    def add(self, total: Any, weights: Any, x: Any) -> Any:
        """The products join the int16 sums."""
        builder, kind = self.builder, vector(I8, 32)
        x = builder.bitcast(x, kind)
        if self.signed:
            signed, codes = weights
            x = call(builder, "llvm.x86.avx2.psign.b", kind, [x, signed])
        else:
            codes = builder.bitcast(weights, kind)
        pairs = call(builder, "llvm.x86.avx2.pmadd.ub.sw", vector(I16, 16), [codes, x])
        sums, small, count = total
        small = pairs if small is None else builder.add(small, pairs)
        if count + 1 < self.pairs:
            return sums, small, count + 1
        return self._widened(sums, small), None, 0

    def end(self, total: Any) -> Any:
        """Nothing stays behind in int16."""
        sums, small, _ = total
        return sums if small is None else self._widened(sums, small)

    def _widened(self, sums: Any, small: Any) -> Any:
        ones = constant(I16, 16, 1)
        wide = call(self.builder, "llvm.x86.avx2.pmadd.wd", vector(I32, 8), [small, ones])
        return self.builder.add(sums, wide)


class NeonDots(Dots):
    """The dot product of Arm's v8.2: one instruction, both factors signed."""

    lanes = 4
    tokens = 4

    def __init__(self, builder: Any, form: Format) -> None:
        super().__init__(builder, form)
        self.starts_from_offset = form.largest < 128

    def weights(self, codes: Any) -> Any:
        """Codes of 8 bits lose their bias; smaller ones are the same signed."""
        kind = vector(I8, 16)
        signed = self.builder.bitcast(codes, kind)
        if self.starts_from_offset:
            return signed
        return self.builder.xor(signed, ir.Constant(kind, [-128] * 16))

    def begin(self, start: Any) -> Any:
        """The instruction adds to what is there."""
        return start

    def add(self, total: Any, weights: Any, x: Any) -> Any:
        """SDOT."""
        arguments = [total, weights, self.builder.bitcast(x, vector(I8, 16))]
        return call(self.builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", vector(I32, 4), arguments)

    def end(self, total: Any) -> Any:
        """It is one already."""
        return total


class PlainDots(Dots):
    """What LLVM makes of widened multiplications, on any processor."""

    lanes = 4
    tokens = 4

    def weights(self, codes: Any) -> Any:
        """As int32: LLVM sees that 16 bits would do."""
        builder = self.builder
        return builder.zext(builder.bitcast(codes, vector(I8, 16)), vector(I32, 16))

    def begin(self, start: Any) -> Any:
        """Two sums a lane, and what they begin with."""
        return start, constant(I32, 8, 0)

    def add(self, total: Any, weights: Any, x: Any) -> Any:
        """Products of neighbours are added: what many processors have one instruction for."""
        builder, (start, pairs) = self.builder, total
        wide = builder.sext(builder.bitcast(x, vector(I8, 16)), vector(I32, 16))
        return start, builder.add(pairs, self._neighbours(builder.mul(weights, wide), 8))

    def end(self, total: Any) -> Any:
        """The two sums of each lane become one."""
        start, pairs = total
        return self.builder.add(start, self._neighbours(pairs, 4))

    def _neighbours(self, values: Any, lanes: int) -> Any:
        even, odd = (
            self.builder.shuffle_vector(
                values, values, ir.Constant(vector(I32, lanes), list(range(at, 2 * lanes, 2)))
            )
            for at in (0, 1)
        )
        return self.builder.add(even, odd)


def dots_for(isa: Isa) -> type[Dots]:
    """The sums of an instruction set."""
    return {
        Isa.AVX512VNNI: VnniDots,
        Isa.AVX2: Avx2Dots,
        Isa.NEON: NeonDots,
        Isa.GENERIC: PlainDots,
    }[isa]
