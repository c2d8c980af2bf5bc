"""Products for many tokens without cooperative matrices."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from forge.backend import BackendError
from forge_gpu.matrices import Matrix
from forge_gpu.memory import ALIGNMENT, Region
from forge_gpu.steps.shape import ceil
from forge_gpu.tape import Activation, Tape

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


@dataclass(frozen=True, slots=True, eq=False)
class Groups:
    """Choices of experts, sorted by them and cut into blocks: what group.comp writes to `words`."""

    words: Region
    used: int
    """Experts of a token."""
    experts: int
    most: int
    """Tokens."""

    @staticmethod
    def size(experts: int, used: int, most: int) -> int:
        """Bytes of its room."""
        return 4 * (1 + 3 * _blocks(experts, used, most) + used * most)

    @property
    def rows(self) -> int:
        """Choices of an invocation of a tile: blocks are no larger than most experts fill."""
        return min(4, ceil(self.used * self.most, _SIDE * self.experts))

    @property
    def block(self) -> int:
        """The most choices of a block."""
        return _SIDE * self.rows

    @property
    def blocks(self) -> int:
        """The most blocks."""
        return _blocks(self.experts, self.used, self.most)

    @property
    def order(self) -> int:
        """The word where the order begins."""
        return 1 + 3 * self.blocks


def _blocks(experts: int, used: int, most: int) -> int:
    """Each expert's last block may be all but empty, and none is empty."""
    choices = used * most
    return min(choices, choices // _SIDE + experts)


def _aligned(size: int) -> int:
    return ceil(size, ALIGNMENT) * ALIGNMENT


def quantise(tape: Tape, x: Activation, into: Quantised, each: int = 1) -> None:
    """Round `each` rows for every one that counts; what is not finite makes its 16 columns NaN in
    every product."""
    groups = x.width // GROUP * each
    tape.run(
        "quantise",
        [tape.frame, x.region, into.codes, into.scales],
        spread(ceil(x.width // GROUP * x.most, 64)),
        writes=[2, 3],
        push=struct.pack("2I", groups, x.counter),
        constants=(64, 1),
    )


def spread(groups: int) -> tuple[int, int, int]:
    """A grid of that many work groups or some more, in two dimensions where one is too short."""
    down = ceil(groups, 65535)
    return ceil(groups, down), down, 1


def multiply(
    tape: Tape,
    x: Activation | Quantised,
    matrix: Matrix,
    out: Activation,
    bias: Region | None = None,
    residual: Activation | None = None,
    *,
    groups: Groups | None = None,
    share: int = 1,
) -> None:
    """out [T, n] = x [T, k] times the matrix transposed, plus bias [n], plus residual [T, n].

    x is Quantised for matrices of codes, float32 for those of numbers. `residual` may be `out`.
    With `groups`, out has a row for each choice: the product with that expert's matrix; `share`
    neighbouring choices have one row of x; and bias is [experts, n].
    """
    if isinstance(x, Quantised) is not matrix.quantised or x.width != matrix.k:
        kind = matrix.kind.upper()
        raise BackendError(f"a matrix of {kind} with {matrix.k} columns needs another x")
    shader, given = f"dense.TYPE={matrix.kind}", [x.codes if isinstance(x, Quantised) else x.region]
    if isinstance(x, Quantised):
        shader = f"tiles.TYPE={matrix.kind}.DOT={int(tape.features.dot)}"
        given.append(x.scales)
    rows = groups.rows if groups else min(4, ceil(x.most, _SIDE))  # of x, for an invocation
    switches = bias is not None, residual is not None, groups is not None
    for part in matrix.parts:
        extra = [bias or part.region, residual.region if residual else part.region]
        across = matrix.rows if groups else part.rows
        down = groups.blocks if groups else ceil(x.most, _SIDE * rows)
        words = groups.words if groups else tape.frame
        numbers = across, matrix.k, x.counter, out.width, part.first, part.rows
        tape.run(
            shader,
            [tape.frame, part.region, *extra, out.region, words, *given],
            (ceil(across, _ROWS), down, 1),
            writes=[4],
            push=part.packed() + struct.pack("7I", *numbers, groups.order if groups else 0),
            constants=(_THREADS, 1, rows, *map(int, switches), share),
        )
