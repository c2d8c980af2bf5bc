"""Matrix products: for one token, for many in cooperative matrices, for many in plain tiles."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from forge_gpu.features import Features
from forge_gpu.formats import FORMATS
from forge_gpu.matrices import Matrix
from forge_gpu.memory import Region
from forge_gpu.steps.shape import ceil, lanes
from forge_gpu.tape import Activation, Tape

GATES = {"silu": 1, "tanh": 2, "quick": 3}
"""Gates by their number in shaders/gates.glsl."""

_LARGE = 1 << 25
"""Weights of a gate's half, from which its kernel is bound by memory alone."""
_FULL_GRID = 16384
"""Work groups from which on some go on to further rows instead: each has its prologue."""
TILES = (128, 128, 64, 64), (128, 64, 64, 32), (64, 64, 32, 32)
"""Tokens and rows of a work group, then of its subgroups, in shaders/gemm.comp."""
_WAVES = 3
"""Work groups a compute unit from which on the largest tile pays."""
_COOPMAT_LANES = 32


@dataclass(frozen=True, slots=True)
class Norm:
    """A root mean square norm that a product computes of what it reads."""

    weight: Region
    epsilon: float


@dataclass(frozen=True, slots=True)
class Added:
    """What a product adds to its sums."""

    bias: Region | None = None
    residual: Activation | None = None


NOTHING = Added()


@dataclass(frozen=True, slots=True)
class Halves:
    """Rows as 16-bit floats, each divided by its scale; regions for `most` rows, padded."""

    region: Region
    scales: Region


@dataclass(frozen=True, slots=True)
class Coded:
    """One row as int8 for products: 16 columns a code line of 16 bytes; behind them a scale and the
    scale times the sum of codes for each line; behind these the sum of squares of each."""

    region: Region
    width: int

    @staticmethod
    def size(width: int) -> int:
        """Bytes of a row."""
        return width // 16 * 28


@dataclass(frozen=True, slots=True)
class Next:
    """Where a product also leaves its row as int8, perhaps times the weight of the norm to come."""

    row: Coded
    norm: Region | None = None


def codable(features: Features, kind: str, rows: int, k: int, *, gate: bool) -> bool:
    """Whether a product can leave its rows as int8, in whole groups of 16, and gains by it."""
    if gate and rows * k >= _LARGE:
        return False
    unit = lanes(features) or 32
    threads, each, _ = _shape(unit, kind, rows, k, gate=gate)
    return rows % 16 == 0 and threads // unit * each % 16 == 0


def beside(one: Matrix, other: Matrix) -> bool:
    """Whether each part of one matrix is in one binding with the same part of the other."""
    return len(one.parts) == len(other.parts) and all(
        (a.region.buffer, a.region.offset, a.region.size)
        == (b.region.buffer, b.region.offset, b.region.size)
        and a.rows == b.rows
        for a, b in zip(one.parts, other.parts, strict=False)
    )


def multiply_one(
    tape: Tape,
    x: Activation | Coded,
    matrix: Matrix,
    out: Activation,
    *,
    norm: Norm | None = None,
    gate: tuple[str, Matrix] | None = None,
    added: Added = NOTHING,
    following: Next | None = None,
) -> None:
    """Record out = W x for one row; with a gate, gate(W x) times V x, where V lies beside W.

    x as int8 was multiplied by the norm's weight already. `following` needs a matrix of one part.
    """
    lane = lanes(tape.features)
    unit = lane or 32
    coded = isinstance(x, Coded)
    kernel = f"matvec.TYPE={matrix.kind}.SUBGROUPS={int(lane > 0)}.DOT={int(tape.features.dot)}"
    for index, part in enumerate(matrix.parts):
        second = gate[1].parts[index] if gate else part
        threads, rows, loops = _shape(unit, matrix.kind, part.rows, matrix.k, gate=bool(gate))
        if following:
            loops = 1
        tape.run(
            kernel,
            [
                x.region,
                norm.weight if norm else x.region,
                part.region,
                added.bias or x.region,
                added.residual.region if added.residual else x.region,
                out.region,
                following.norm if following and following.norm else x.region,
                following.row.region if following else out.region,
            ],
            (ceil(part.rows, threads // unit * rows * loops), 1, 1),
            writes=[5, 7] if following else [5],
            push=part.packed()
            + second.packed()
            + struct.pack("2If", part.rows, part.first, norm.epsilon if norm else 0.0),
            constants=(
                *(threads, unit, matrix.k, rows, loops),
                *(int(norm is not None), GATES[gate[0]] if gate else 0),
                *(int(added.bias is not None), int(added.residual is not None), int(coded)),
                0 if following is None else 1 if following.norm is None else 2,
            ),
            subgroup=lane,
            waits=True,
        )


def _shape(unit: int, kind: str, n: int, k: int, *, gate: bool) -> tuple[int, int, int]:
    """Threads of a work group, rows of a subgroup, and how often it goes on.

    As they measured best on an H200 (docs/vulkan.md); what else a device has, it runs.
    """
    threads, rows = 256, 2 if n >= 1024 else 1
    if gate:
        threads = 128 if n * k >= _LARGE else 512
    elif n >= 65536:
        threads = 512
    elif k >= 8192 and FORMATS[kind].size / FORMATS[kind].columns > 0.7:
        threads, rows = 512, 1
    threads = min(threads, 32 * unit)  # subgroups of a group: no driver is known that takes fewer
    groups = ceil(n, threads // unit * rows)
    return max(unit, threads), rows, max(1, min(8, groups // _FULL_GRID))


def fits_one(features: Features, kind: str, k: int) -> bool:
    """Whether the kernel for one row has room for its columns as int8 in shared memory."""
    return not FORMATS[kind].quantised or k + k // 2 + 4096 <= features.shared_bytes


def cooperative(kind: str, k: int) -> bool:
    """Whether there is a kernel with cooperative matrices for weights of a type and a width."""
    return kind not in ("f32", "bf16") and k % 32 == 0


def halve(
    tape: Tape,
    x: Activation,
    out: Halves,
    *,
    norm: Norm | None = None,
    gate: tuple[str, Activation] | None = None,
) -> None:
    """Record x as halves: normed, or gated and times another, if that is asked for."""
    other = norm.weight if norm else gate[1].region if gate else x.region
    tape.run(
        "half",
        [tape.frame, x.region, other, out.region, out.scales],
        (x.most, 1, 1),
        writes=[3, 4],
        push=struct.pack("If", x.counter, norm.epsilon if norm else 0.0),
        constants=(256, 1, x.width, int(norm is not None), GATES[gate[0]] if gate else 0),
    )


def multiply_halves(
    tape: Tape,
    x: Halves,
    matrix: Matrix,
    out: Activation,
    added: Added = NOTHING,
    *,
    tile: tuple[int, int, int, int] | None = None,
) -> None:
    """Record out = x W^T in cooperative matrices; a device without them gets their emulation.

    `tile` is of TILES; left out, it is chosen.
    """
    real = tape.features.coopmat
    for part in matrix.parts:
        shape = tile or _tile(tape, part.rows, out.most)
        threads = shape[0] // shape[2] * (shape[1] // shape[3]) * _COOPMAT_LANES
        tape.run(
            f"gemm.TYPE={matrix.kind}.COOPMAT={int(real)}",
            [
                tape.frame,
                x.region,
                part.region,
                x.scales,
                added.bias or x.scales,
                added.residual.region if added.residual else x.scales,
                out.region,
            ],
            (ceil(part.rows, shape[1]), ceil(out.most, shape[0]), 1),
            writes=[6],
            push=part.packed()
            + struct.pack("5I", part.rows, matrix.k, out.counter, out.width, part.first),
            constants=(
                *(threads, _COOPMAT_LANES, *shape),
                *(int(added.bias is not None), int(added.residual is not None)),
            ),
            subgroup=_COOPMAT_LANES if real else 0,
        )


def _tile(tape: Tape, rows: int, tokens: int) -> tuple[int, int, int, int]:
    """The largest tile that shared memory has room for, and that leaves no unit without work."""
    for index, tile in enumerate(TILES[:-1]):
        groups = ceil(rows, tile[1]) * ceil(tokens, tile[0])
        threads = tile[0] // tile[2] * (tile[1] // tile[3]) * _COOPMAT_LANES
        room = 80 * (tile[0] + tile[1]) + threads // _COOPMAT_LANES * 1024
        if (
            tokens > TILES[-1][0]
            and room <= tape.features.shared_bytes
            and (index or groups >= _WAVES * tape.gpu.compute_units)
        ):
            return tile
    return TILES[-1]
