"""Unpacks a block's codes, vector by vector, in registers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from forge_cpu.formats import ROWS, Format
from forge_cpu.isa import Isa, host_features
from forge_cpu.kernels.vectors import I8, I32, call, constant, load, vector

_CHUNK = 4 * ROWS
"""Bytes of a plane that belong together: four codes of each row."""
_MASKS = {1: 0x01010101, 2: 0x03030303, 4: 0x0F0F0F0F}


class Codes:
    """The eight vectors of a block, for `lanes` rows; `address` has the first one's codes."""

    def __init__(self, builder: Any, form: Format, isa: Isa, lanes: int, address: Any) -> None:
        self._builder, self._form, self._isa = builder, form, isa
        self._kind, self._lanes, self._address = vector(I32, lanes), lanes, address
        self._chunks: dict[tuple[int, int], Any] = {}

    def vector(self, number: int) -> Any:
        """Columns 4 x number to 4 x number + 3, a byte each in [lanes] int32."""
        form = self._form
        if form.low == 8:
            return self._chunk(0, number)
        code = self._bits(0, form.low, number)
        if form.high:
            start = _CHUNK * 8 * form.low // 8
            above = self._bits(start, form.high, number)
            shift = constant(I32, self._lanes, form.low)
            code = self._builder.or_(code, self._builder.shl(above, shift))
        return self._looked_up(code) if form.table else code

    def _bits(self, plane: int, bits: int, number: int) -> Any:
        if bits == 4:  # vector c + 4 lies above vector c
            chunk, shift = number % 4, 4 * (number // 4)
        else:
            per_chunk = 8 // bits
            chunk, shift = number // per_chunk, bits * (number % per_chunk)
        value = self._chunk(plane, chunk)
        if shift:
            value = self._builder.lshr(value, constant(I32, self._lanes, shift))
        return self._builder.and_(value, constant(I32, self._lanes, _MASKS[bits]))

    def _chunk(self, plane: int, number: int) -> Any:
        place = plane, number
        if place not in self._chunks:
            offset = plane + _CHUNK * number
            self._chunks[place] = load(self._builder, self._address, offset, self._kind)
        return self._chunks[place]

    def _looked_up(self, codes: Any) -> Any:
        """Table entries, biased by 128 to be unsigned."""
        table = [value + 128 for value in self._form.table or ()]
        builder, size = self._builder, 4 * self._lanes
        kind = vector(I8, size)
        places = builder.bitcast(codes, kind)
        entries = ir.Constant(kind, (table * (size // len(table))))
        if self._isa is Isa.AVX512VNNI:
            found = call(builder, "llvm.x86.avx512.pshuf.b.512", kind, [entries, places])
        elif self._isa is Isa.AVX2:
            found = call(builder, "llvm.x86.avx2.pshuf.b", kind, [entries, places])
        elif self._isa is Isa.GENERIC and host_features().get("ssse3"):
            found = call(builder, "llvm.x86.ssse3.pshuf.b.128", kind, [entries, places])
        elif self._isa is Isa.NEON:
            found = call(builder, "llvm.aarch64.neon.tbl1.v16i8", kind, [entries, places])
        else:  # shuffles are fixed: choose among the sixteen
            found = entries
            for code, value in enumerate(table):
                here = builder.icmp_unsigned("==", places, constant(I8, size, code))
                found = builder.select(here, constant(I8, size, value), found)
        return builder.bitcast(found, self._kind)
