"""Products for many tokens without cooperative matrices."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from forge.backend import BackendError
from forge_vulkan.matrices import Matrix, Part
from forge_vulkan.runtime.memory import ALIGNMENT, Region
from forge_vulkan.tape import Activation, Tape

GROUP = 16
"""Columns with one scale."""
_SIDE = 16
_ROWS = 64
"""Rows of a matrix of a work group."""
_THREADS = _SIDE * _SIDE


@dataclass(frozen=True, slots=True, eq=False)
class Quantised:
    """An activation as signed bytes [most, width], with two float32 for 16 columns: the scale, and
    the scale times the sum of the bytes."""

    codes: Region
    scales: Region
    width: int
    counter: int
    most: int

    @staticmethod
    def size(width: int, most: int) -> int:
        """Bytes of room that it takes."""
        return _aligned(width * most) + width // GROUP * 8 * most

    @classmethod
    def over(cls, room: Region, like: Activation) -> Quantised:
        """In this room, of at least `size` bytes, for rows like those."""
        width, most = like.width, like.most
        codes = room.part(0, width * most)
        scales = room.part(_aligned(width * most), width // GROUP * 8 * most)
        return cls(codes, scales, width, like.counter, most)


def _aligned(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def quantise(tape: Tape, x: Activation, into: Quantised) -> None:
    """Round each row; what is not finite makes its 16 columns NaN in every product."""
    groups = x.width // GROUP
    tape.run(
        "quantise",
        [tape.frame, x.region, into.codes, into.scales],
        (-(-groups * x.most // 64), 1, 1),
        writes=[2, 3],
        push=struct.pack("2I", groups, x.counter),
        constants=(64, 1),
    )


def multiply(
    tape: Tape,
    x: Activation | Quantised,
    matrix: Matrix,
    out: Activation,
    bias: Region | None = None,
    residual: Activation | None = None,
) -> None:
    """out [T, n] = x [T, k] times the matrix transposed, plus bias [n], plus residual [T, n].

    x is Quantised for matrices of codes, float32 for those of numbers. `residual` may be `out`.
    """
    if isinstance(x, Quantised) is not matrix.quantised or x.width != matrix.k:
        raise BackendError(
            f"a matrix of {matrix.kind.upper()} and {matrix.k} columns needs another x"
        )
    shader = f"dense.TYPE={matrix.kind}"
    if isinstance(x, Quantised):
        shader = f"tiles.TYPE={matrix.kind}.DOT={int(tape.features.dot)}"
    given = [x.codes, x.scales] if isinstance(x, Quantised) else [x.region]
    mine = min(4, -(-x.most // _SIDE))  # tokens of an invocation
    for part in matrix.parts:
        extra = [bias or part.region, residual.region if residual else part.region]
        tape.run(
            shader,
            [tape.frame, *given, part.region, *extra, out.region],
            (-(-part.rows // _ROWS), -(-x.most // (_SIDE * mine)), 1),
            writes=[4 + len(given)],
            push=_push(part, matrix, x, out),
            constants=(_THREADS, 1, mine, int(bias is not None), int(residual is not None)),
        )


def _push(part: Part, matrix: Matrix, x: Activation | Quantised, out: Activation) -> bytes:
    numbers = part.rows, matrix.k, x.counter, out.width, part.first
    return part.packed() + struct.pack("5I", *numbers)
