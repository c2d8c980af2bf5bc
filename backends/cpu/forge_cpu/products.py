"""Steps of a program that multiply by packed weights: what their kernels take, in one place.

`count` is the address of an int64 in memory (or an array of one), read when the step runs.
"""

from __future__ import annotations

import numpy as np

from forge.backend import Array
from forge_cpu.packing import Packed
from forge_cpu.program import Argument, Program


def quantise(
    program: Program,
    count: Argument,
    x: Argument,
    lines: Argument,
    columns: int,
    *,
    wait: bool = True,
) -> None:
    """`count` rows of float32 x [.., columns] become lines, as `packing.lines_for` has room for."""
    program.add("quantise.rows", count, x, lines, columns, wait=wait)


def multiply(
    program: Program,
    weights: Packed,
    count: Argument,
    x: Argument,
    out: Argument,
    *,
    bias: Argument = 0,
    residual: Argument = 0,
    wait: bool = True,
) -> None:
    """out [count, rows] = x times the weights, plus bias [rows], plus residual [count, rows].

    x are lines where `weights.quantised`, else float32 rows. `residual` may be `out`.
    """
    rows, columns = weights.rows, weights.columns
    program.add(
        *(weights.matmul, count, x, weights.data, out, rows, columns, bias, residual),
        _counter(),
        wait=wait,
    )


def multiply_experts(
    program: Program,
    weights: Packed,
    starts: Argument,
    x: Argument,
    out: Argument,
    *,
    bias: Argument = 0,
    wait: bool = True,
) -> None:
    """out [choices, rows] = rows of x, sorted by expert, times their experts' matrices.

    The rows of expert e are starts[e] to before starts[e + 1], int32; bias is [experts, rows].
    """
    rows, columns, experts = weights.rows, weights.columns, weights.experts
    program.add(
        weights.experts_matmul,
        starts,
        x,
        weights.data,
        out,
        rows,
        columns,
        experts,
        bias,
        _counter(),
        wait=wait,
    )


def read_rows(
    program: Program,
    weights: Packed,
    count: Argument,
    rows: Argument,
    out: Argument,
    *,
    wait: bool = True,
) -> None:
    """out [count, columns] = the rows of the weights that int64 `rows` [count] name, in float32."""
    program.add(weights.embed, count, rows, weights.data, out, weights.columns, wait=wait)


def _counter() -> Array:
    """Where the threads count the pieces that they have taken, on a line of its own."""
    return np.zeros(16, np.int64)[8:]
