"""Products in cooperative matrices against float64: the device's own, or their emulation."""

from __future__ import annotations

import numpy as np
import pytest
from tests.backends.vulkan.desk import Desk, rows_of

from forge.testing import random_blocks
from forge.weights import dequantize
from forge_gpu.formats import FORMATS
from forge_gpu.steps.products import (
    TILES,
    Added,
    Halves,
    Norm,
    cooperative,
    halve,
    multiply_halves,
)

RANDOM = np.random.default_rng(9)
EVERY = (*TILES, (128, 64, 32, 32))  # in the last one two invocations share 16 weights
KINDS = ["q4_0", "f16", "q5_k"]  # the others differ in what other tests look at, and this is slow


def halves(desk: Desk, width: int, most: int) -> Halves:
    """Room for rows, whole tiles of them: what lies behind the last row is nonsense."""
    padded = -(-most // 128) * 128
    return Halves(desk.room(2 * width * padded), desk.room(4 * padded))


def taken(made: Halves, tokens: int, width: int) -> np.ndarray:
    """The rows as the products see them, scales applied."""
    rows = made.region.view(np.float16)[: tokens * width].reshape(tokens, width)
    return rows.astype(np.float64) * made.scales.view(np.float32)[:tokens, None]


def product(desk: Desk, x, matrix, tile, added=None, most=0):
    most = most or -(-len(x) // 32) * 32
    rows, made = desk.activation(x, most), halves(desk, x.shape[1], most)
    out = desk.nothing(matrix.n, most)
    desk.run(len(x), lambda tape: halve(tape, rows, made))
    more = added(most) if added else Added()
    desk.run(len(x), lambda tape: multiply_halves(tape, made, matrix, out, more, tile=tile))
    return rows_of(out, len(x)), taken(made, len(x), x.shape[1])


def weights(kind: str, n: int, k: int):
    raw = random_blocks(kind, (n, k), std=0.1, random=RANDOM)
    return raw, dequantize(raw, kind).astype(np.float64)


def close(got, x, w) -> None:
    """Within half precision of the weights, and float32's rounding of the sums."""
    want, bound = x @ w.T, np.abs(x) @ np.abs(w.T)
    assert (np.abs(got - want) <= 2**-11 * bound + 1e-30).all()


def test_kinds_are_those_with_a_kernel() -> None:
    have = {kind for kind in FORMATS if cooperative(kind, 256)}
    assert {*KINDS} < have
    assert have == {*FORMATS} - {"f32", "bf16"}


# llvmpipe ends loops after 65535 rounds in all: 256 columns in a large tile are too much emulation.
@pytest.mark.parametrize(
    ("kind", "tile"),
    [*((kind, tile) for kind in KINDS[:2] for tile in EVERY), (KINDS[2], TILES[-1])],
)
def test_types_are_multiplied_rightly_in_every_tile(desk: Desk, kind: str, tile) -> None:
    k = max(64, FORMATS[kind].columns)
    raw, w = weights(kind, 20, k)
    x = RANDOM.standard_normal((33, k), np.float32)
    got, seen = product(desk, x, desk.matrix(kind, raw, k), tile)
    close(got, seen, w)


@pytest.mark.parametrize(
    ("tile", "tokens", "n", "k"),
    [(TILES[-1], 1, 1, 32), (TILES[-1], 17, 100, 96), (TILES[1], 130, 33, 64)],
)
def test_sizes_that_fill_no_tile(desk: Desk, tile, tokens: int, n: int, k: int) -> None:
    raw, w = weights("q8_0", n, k)
    x = RANDOM.standard_normal((tokens, k), np.float32)
    got, seen = product(desk, x, desk.matrix("q8_0", raw, k), tile)
    close(got, seen, w)


def test_bias_and_residual_are_added(desk: Desk) -> None:
    raw, w = weights("q4_0", 40, 64)
    x = RANDOM.standard_normal((20, 64), np.float32)
    bias = RANDOM.standard_normal(40, np.float32)
    residual = RANDOM.standard_normal((20, 40), np.float32)

    def added(most: int) -> Added:
        return Added(desk.array(bias), desk.activation(residual, most))

    got, seen = product(desk, x, desk.matrix("q4_0", raw, 64), TILES[-1], added)
    want = seen @ w.T + bias + residual
    assert np.abs(got - want).max() <= 2**-10 * np.abs(want).max()


def test_a_row_of_huge_numbers_stays_finite_and_exact(desk: Desk) -> None:
    raw, w = weights("f16", 16, 64)
    x = RANDOM.standard_normal((3, 64), np.float32)
    x[1] *= 1e9
    x[2] *= 1e-9
    got, seen = product(desk, x, desk.matrix("f16", raw, 64), TILES[-1])
    assert np.abs(seen - x).max(axis=1) == pytest.approx(0, abs=1e9 * 2**-9)
    assert (np.abs(seen - x) <= 2**-10 * np.abs(x).max(axis=1, keepdims=True)).all()
    close(got, seen, w)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_shows_in_its_row_alone(desk: Desk, bad: float) -> None:
    raw, _ = weights("q8_0", 20, 64)
    x = RANDOM.standard_normal((40, 64), np.float32)
    x[7, 5] = bad
    got, _ = product(desk, x, desk.matrix("q8_0", raw, 64), TILES[-1])
    assert not np.isfinite(got[7]).any()
    assert np.isfinite(np.delete(got, 7, axis=0)).all()


@pytest.mark.parametrize("width", [32, 576, 1536])
def test_rows_are_normed_or_gated_on_their_way(desk: Desk, width: int) -> None:
    x = RANDOM.standard_normal((5, width), np.float32) * 30
    up = RANDOM.standard_normal((5, width), np.float32)
    weight = RANDOM.standard_normal(width, np.float32)
    rows, other = desk.activation(x, 32), desk.activation(up, 32)
    made = halves(desk, width, 32)
    exact = x.astype(np.float64)

    desk.run(5, lambda tape: halve(tape, rows, made, norm=Norm(desk.array(weight), 1e-5)))
    want = exact / np.sqrt((exact**2).mean(axis=1, keepdims=True) + 1e-5) * weight
    got = taken(made, 5, width)
    assert (np.abs(got - want) <= 2**-10 * np.abs(want).max(axis=1, keepdims=True)).all()

    desk.run(5, lambda tape: halve(tape, rows, made, gate=("silu", other)))
    want = exact / (1 + np.exp(-exact)) * up
    got = taken(made, 5, width)
    assert (np.abs(got - want) <= 2**-10 * np.abs(want).max(axis=1, keepdims=True)).all()
