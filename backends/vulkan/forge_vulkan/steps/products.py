"""Matrix products: for one token, for many in cooperative matrices, for many in plain tiles."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from forge_vulkan.formats import FORMATS
from forge_vulkan.matrices import Matrix
from forge_vulkan.runtime.features import Features
from forge_vulkan.runtime.memory import Region
from forge_vulkan.steps.shape import ceil, lanes
from forge_vulkan.tape import Activation, Tape

GATES = {"silu": 1, "tanh": 2, "quick": 3}
"""Gates by their number in shaders/gates.glsl."""

_FULL_GRID = 2048
"""Work groups that keep any device busy: more go on to further rows instead, and save a prologue."""
_TILES = (128, 128, 64, 64), (128, 64, 64, 32), (64, 64, 32, 32)
"""Tokens and rows of a work group, then of its subgroups, in shaders/gemm.comp."""
_WAVES = 1.5
"""Work groups a compute unit that make the larger tile pay."""
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


def codable(features: Features, rows: int, k: int) -> bool:
    """Whether a product can leave its rows as int8: whole groups of 16 in each work group."""
    unit = lanes(features) or 32
    threads, each, _ = _shape(unit, rows, k)
    return rows % 16 == 0 and threads // unit * each % 16 == 0


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
        threads, rows, loops = _shape(unit, part.rows, matrix.k)
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
        )


def _shape(unit: int, n: int, k: int) -> tuple[int, int, int]:
    """Threads of a work group, rows of a subgroup, and how often it goes on."""
    threads = max(unit, 256 if k >= 512 else 128)
    rows = 2 if n >= 1024 else 1
    groups = ceil(n, threads // unit * rows)
    return threads, rows, max(1, min(8, groups // _FULL_GRID))


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
        push=struct.pack("IIf", x.width, x.counter, norm.epsilon if norm else 0.0),
        constants=(256, 1, int(norm is not None), GATES[gate[0]] if gate else 0),
    )


def multiply_halves(
    tape: Tape, x: Halves, matrix: Matrix, out: Activation, added: Added = NOTHING
) -> None:
    """Record out = x W^T in cooperative matrices."""
    for part in matrix.parts:
        tile = _tile(tape, part.rows, out.most)
        threads = tile[0] // tile[2] * (tile[1] // tile[3]) * _COOPMAT_LANES
        tape.run(
            f"gemm.TYPE={matrix.kind}",
            [
                tape.frame,
                x.region,
                part.region,
                x.scales,
                added.bias or x.scales,
                added.residual.region if added.residual else x.scales,
                out.region,
            ],
            (ceil(part.rows, tile[1]), ceil(out.most, tile[0]), 1),
            writes=[6],
            push=part.packed()
            + struct.pack("5I", part.rows, matrix.k, out.counter, out.width, part.first),
            constants=(
                *(threads, _COOPMAT_LANES, *tile),
                *(int(added.bias is not None), int(added.residual is not None)),
            ),
            subgroup=_COOPMAT_LANES,
        )


def _tile(tape: Tape, rows: int, tokens: int) -> tuple[int, int, int, int]:
    """The largest tile that fits shared memory and leaves no compute unit without work."""
    for tile in _TILES[:-1]:
        groups = ceil(rows, tile[1]) * ceil(tokens, tile[0])
        fits = 160 * (tile[0] + tile[1]) + 4096 <= tape.features.shared_bytes
        if fits and tokens >= tile[0] and groups >= _WAVES * tape.gpu.compute_units:
            return tile
    return _TILES[-1]
