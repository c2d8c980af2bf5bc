"""Weights in the form that the kernels read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forge.backend import Array
from forge_cpu.crew import Crew
from forge_cpu.formats import BLOCK, FORMATS, LINE
from forge_cpu.library import Library
from forge_cpu.program import Program

DENSE = frozenset({"f32", "f16", "bf16"})
"""Types whose numbers are read as they are stored."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A matrix [rows, columns] of a weight type, and its bytes: its own, or of DENSE the file's."""

    kind: str
    rows: int
    columns: int
    data: Array

    @property
    def quantised(self) -> bool:
        """Whether it is multiplied by lines of quantised activations, and not by float32."""
        return self.kind in FORMATS

    @property
    def matmul(self) -> str:
        """The kernel that multiplies by it."""
        return f"matmul.{self.kind}" if self.quantised else f"dense.{self.kind}"

    @property
    def embed(self) -> str:
        """The kernel that reads rows of it."""
        return f"embed.{self.kind}"


def pack(kind: str, raw: Array, columns: int, crew: Crew, library: Library) -> Packed:
    """Repack a file's rows, uint8 [rows, bytes]; F32, F16 and BF16 are taken as they are."""
    rows, row_bytes = raw.shape
    if kind in DENSE:
        return Packed(kind, rows, columns, np.ascontiguousarray(raw))
    data = aligned_bytes(FORMATS[kind].packed_bytes(rows, columns))
    program = Program(library)
    program.add(f"pack.{kind}", np.ascontiguousarray(raw), row_bytes, data, rows, columns)
    crew.run(program)
    return Packed(kind, rows, columns, data)


def lines_for(tokens: int, columns: int) -> Array:
    """Room for the quantised activations of so many tokens."""
    return aligned_bytes(tokens * (columns // BLOCK) * LINE)


def aligned_bytes(count: int) -> Array:
    """Zeros that begin on a cache line, in pages that exist once they are written."""
    block = np.zeros(count + LINE, np.uint8)
    start = -block.ctypes.data % LINE
    return block[start : start + count]
