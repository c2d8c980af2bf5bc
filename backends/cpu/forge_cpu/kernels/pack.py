"""Repacks a matrix from the file's rows to groups of 16 rows; see forge_cpu.formats.

Arguments: (rows as in the file, bytes of such a row, packed, rows, columns). Rows that fill up the
last group stay what they are: zeros in fresh memory.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit

from forge_cpu.formats import BLOCK, FORMATS, ROWS, Format
from forge_cpu.kernels.blocks import READERS, SUPER_BYTES
from forge_cpu.kernels.kernel import Kernel, kernel
from forge_cpu.kernels.pointers import u32
from forge_cpu.kernels.scales import MOVERS
from forge_cpu.kernels.tile import stack_floats

_STRIDE = ROWS
"""32-bit words between the chunks of a row."""


def _planes_for(form: Format) -> Callable[..., None]:
    """Put 32 codes of a row, one byte each, into the planes: (codes, out of the row)."""
    low, high = form.low, form.high
    chunks = low  # of the first plane: 8 vectors of low bits, 8 bits a byte
    mask = {2: 0x03030303, 4: 0x0F0F0F0F, 8: 0xFFFFFFFF}[low]
    upper = {0: 0, 1: 0x01010101, 2: 0x03030303}[high]

    @njit
    def planes(codes, out):
        words, target = u32(codes), u32(out)
        if low == 8:
            for v in range(8):
                target[_STRIDE * v] = words[v]
        elif low == 4:
            for c in range(4):
                target[_STRIDE * c] = (words[c] & mask) | (words[c + 4] & mask) << 4
        else:
            for c in range(2):
                bits = words[4 * c] & mask
                for i in range(1, 4):
                    bits |= (words[4 * c + i] & mask) << (2 * i)
                target[_STRIDE * c] = bits
        if high == 1:
            bits = (words[0] >> low) & upper
            for v in range(1, 8):
                bits |= ((words[v] >> low) & upper) << v
            target[_STRIDE * chunks] = bits
        elif high == 2:
            for c in range(2):
                bits = (words[4 * c] >> low) & upper
                for i in range(1, 4):
                    bits |= ((words[4 * c + i] >> low) & upper) << (2 * i)
                target[_STRIDE * (chunks + c)] = bits

    return planes


def _packer(kind: str) -> Kernel:
    form, read, move = FORMATS[kind], READERS[kind], MOVERS[kind]
    planes, stack = _planes_for(form), stack_floats(BLOCK // 4)
    width, given, taken = form.blocks * BLOCK, SUPER_BYTES[kind], form.super_bytes
    blocks, code_bytes = form.blocks, form.code_bytes

    @kernel
    def pack(args, thread, threads):
        rows, supers = args[3], args[4] // width
        groups = (rows + ROWS - 1) // ROWS
        codes = stack()
        for group in range(groups * thread // threads, groups * (thread + 1) // threads):
            start = args[2] + group * supers * taken
            for row in range(min(ROWS, rows - group * ROWS)):
                line = args[0] + (group * ROWS + row) * args[1]
                for number in range(supers):
                    source, out = line + number * given, start + number * taken
                    for block in range(blocks):
                        read(source, block, codes)
                        planes(codes, out + block * code_bytes + 4 * row)
                    move(source, out, row)

    return pack


q4_0 = _packer("q4_0")
q4_1 = _packer("q4_1")
q5_0 = _packer("q5_0")
q5_1 = _packer("q5_1")
q8_0 = _packer("q8_0")
q2_k = _packer("q2_k")
q3_k = _packer("q3_k")
q4_k = _packer("q4_k")
q5_k = _packer("q5_k")
q6_k = _packer("q6_k")
iq4_nl = _packer("iq4_nl")
iq4_xs = _packer("iq4_xs")
mxfp4 = _packer("mxfp4")
