"""Weights in the form that the kernels read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forge.backend import Array
from forge_cpu.arena import Arena
from forge_cpu.crew import Crew
from forge_cpu.formats import BLOCK, FORMATS, LINE
from forge_cpu.library import Library
from forge_cpu.program import Program

DENSE = frozenset({"f32", "f16", "bf16"})
"""Types whose numbers are read as they are stored."""


@dataclass(frozen=True, slots=True)
class Packed:
    """Matrices [rows, columns] of a weight type, and their bytes: own ones, or of DENSE the file's.

    One matrix, or those of a layer's experts one after another.
    """

    kind: str
    rows: int
    columns: int
    data: Array
    experts: int = 1

    @property
    def quantised(self) -> bool:
        """Whether it is multiplied by lines of quantised activations, and not by float32."""
        return self.kind in FORMATS

    @property
    def matmul(self) -> str:
        """The kernel that multiplies by it."""
        return f"matmul.{self.kind}" if self.quantised else f"dense.{self.kind}"

    @property
    def experts_matmul(self) -> str:
        """The kernel that multiplies each expert's rows by its matrix."""
        return f"experts.{self.kind}"

    @property
    def embed(self) -> str:
        """The kernel that reads rows of it."""
        return f"embed.{self.kind}"


def pack(
    kind: str,
    raw: Array,
    columns: int,
    crew: Crew,
    library: Library,
    arena: Arena | None = None,
) -> Packed:
    """Repack a file's rows, uint8 [rows, bytes] or [experts, rows, bytes]; DENSE stay as they are.

    They go to the arena if there is one, else to memory of their own.
    """
    rows, row_bytes = raw.shape[-2:]
    matrices = raw.reshape(-1, rows, row_bytes)
    if kind in DENSE:
        data = arena.take(raw.nbytes) if arena else np.empty(raw.nbytes, np.uint8)
        data[:] = np.ascontiguousarray(raw).reshape(-1).view(np.uint8)
        return Packed(kind, rows, columns, data, len(matrices))
    each = FORMATS[kind].packed_bytes(rows, columns)
    size = each * len(matrices)
    data = arena.take(size) if arena else aligned_bytes(size)
    program = Program(library)
    for number, matrix in enumerate(matrices):
        given = np.ascontiguousarray(matrix)
        place = data[each * number : each * (number + 1)]
        program.add(f"pack.{kind}", given, row_bytes, place, rows, columns, wait=False)
    crew.run(program)
    return Packed(kind, rows, columns, data, len(matrices))


def lines_for(tokens: int, columns: int) -> Array:
    """Room for the quantised activations of so many tokens."""
    return aligned_bytes(tokens * (columns // BLOCK) * LINE)


def aligned_bytes(count: int) -> Array:
    """Zeros that begin on a cache line, in pages that exist once they are written."""
    block = np.zeros(count + LINE, np.uint8)
    start = -block.ctypes.data % LINE
    return block[start : start + count]
