"""Products of one row against float64, with all that is fused into them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.backends.hip.kernels.stage import HipDesk
from tests.backends.vulkan.desk import rows_of

from forge.testing import random_blocks
from forge.weights import dequantize
from forge_gpu.formats import FORMATS
from forge_gpu.steps.products import Added, Coded, Next, Norm, multiply_one

RANDOM = np.random.default_rng(11)
EPSILON = 1e-5


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape, np.float32)


def weights(kind: str, n: int, k: int):
    raw = random_blocks(kind, (n, k), std=0.1, random=RANDOM)
    return raw, dequantize(raw, kind).astype(np.float64)


def as_bytes(x: np.ndarray) -> np.ndarray:
    """Rounded to 255 levels of each 16 columns, as products of bytes take it."""
    groups = x.astype(np.float64).reshape(-1, 16)
    scale = np.abs(groups).max(axis=1, keepdims=True) / 127
    codes = np.rint(np.divide(groups, scale, out=np.zeros_like(groups), where=scale > 0))
    return (codes * scale).reshape(x.shape)


def taken(kind: str, x: np.ndarray) -> np.ndarray:
    return as_bytes(x) if FORMATS[kind].quantised else x.astype(np.float64)


def close(got: np.ndarray, x: np.ndarray, w: np.ndarray, want: np.ndarray) -> None:
    """Within float32's rounding of the sums, and of numbers that lie between two levels."""
    bound = np.abs(w) @ np.abs(x)
    assert got.shape == want.shape
    assert (np.abs(got - want) <= 2e-5 * bound + 1e-6).all()


def silu(x: np.ndarray) -> np.ndarray:
    return x / (1 + np.exp(-x))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_type_is_multiplied_rightly(desk: HipDesk, kind: str) -> None:
    n, k = 37, 768 if FORMATS[kind].columns == 256 else 288
    raw, w = weights(kind, n, k)
    x, out = normal(1, k), desk.nothing(n, 1)
    row = desk.activation(x, 1)
    desk.run(1, lambda tape: multiply_one(tape, row, desk.matrix(kind, raw, k), out))
    seen = taken(kind, x[0])
    close(rows_of(out, 1)[0], seen, w, w @ seen)


@pytest.mark.parametrize("kind", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("k", [1, 33, 127])
def test_numbers_may_have_rows_of_any_length(desk: HipDesk, kind: str, k: int) -> None:
    raw, w = weights(kind, 5, k)
    x, out = normal(1, k), desk.nothing(5, 1)
    row = desk.activation(x, 1)
    desk.run(1, lambda tape: multiply_one(tape, row, desk.matrix(kind, raw, k), out))
    close(rows_of(out, 1)[0], x[0].astype(np.float64), w, w @ x[0].astype(np.float64))


@pytest.mark.parametrize("kind", ["q4_k", "q6_k", "f16"])
def test_a_norm_a_bias_and_a_residual_are_fused(desk: HipDesk, kind: str) -> None:
    n, k = 70, 512
    raw, w = weights(kind, n, k)
    x, g, bias, residual = normal(1, k), normal(k), normal(n), normal(1, n)
    row, out = desk.activation(x, 1), desk.activation(residual, 1)
    norm, more = Norm(desk.array(g), EPSILON), Added(desk.array(bias), out)
    matrix = desk.matrix(kind, raw, k)
    desk.run(1, lambda tape: multiply_one(tape, row, matrix, out, norm=norm, added=more))
    seen = taken(kind, x[0] * g)
    inverse = 1 / np.sqrt(np.square(x[0].astype(np.float64)).mean() + EPSILON)
    close(rows_of(out, 1)[0], seen, w, w @ seen * inverse + bias + residual[0])


@pytest.mark.parametrize("kind", ["q4_0", "q5_k", "bf16"])
def test_a_gate_and_its_up_are_read_together(desk: HipDesk, kind: str) -> None:
    n, k = 48, 512
    pairs = [weights(kind, n, k) for _ in range(2)]
    gate, up = desk.together(*(desk.matrix(kind, raw, k) for raw, _ in pairs))
    x, out = normal(1, k), desk.nothing(n, 1)
    row = desk.activation(x, 1)
    desk.run(1, lambda tape: multiply_one(tape, row, gate, out, gate=("silu", up)))
    seen = taken(kind, x[0])
    sums = [w @ seen for _, w in pairs]
    bounds = [np.abs(w) @ np.abs(seen) for _, w in pairs]
    got, want = rows_of(out, 1)[0], silu(sums[0]) * sums[1]
    assert (np.abs(got - want) <= 3e-5 * (1 + bounds[0]) * (1 + bounds[1])).all()


@pytest.mark.parametrize("normed", [False, True])
def test_a_row_goes_out_as_bytes_and_the_next_product_reads_it(desk: HipDesk, normed: bool) -> None:
    kind, n, k = "q4_k", 1024, 256
    (raw, w), (second, v) = weights(kind, n, k), weights(kind, 40, n)
    x, g = normal(1, k), normal(n)
    row, middle, out = desk.activation(x, 1), desk.nothing(n, 1), desk.nothing(40, 1)
    coded = Coded(desk.room(Coded.size(n)), n)
    weight = desk.array(g) if normed else None
    first, last = desk.matrix(kind, raw, k), desk.matrix(kind, second, n)

    def write(tape) -> None:
        multiply_one(tape, row, first, middle, following=Next(coded, weight))
        norm = Norm(weight, EPSILON) if weight else None
        multiply_one(tape, coded, last, out, norm=norm)

    desk.run(1, write)
    made = rows_of(middle, 1)[0]
    seen = as_bytes(made * g) if normed else as_bytes(made)
    inverse = 1 / np.sqrt(np.square(made.astype(np.float64)).mean() + EPSILON) if normed else 1.0
    close(rows_of(out, 1)[0], seen, v, v @ seen * inverse)
    first_row = taken(kind, x[0])
    close(made, first_row, w, w @ first_row)


@pytest.mark.parametrize("kind", ["q8_0", "f32"])
def test_a_matrix_in_parts_makes_one_row(desk: HipDesk, kind: str) -> None:
    raw, w = weights(kind, 90, 64)
    x, out = normal(1, 64), desk.nothing(90, 1)
    row, matrix = desk.activation(x, 1), desk.matrix(kind, raw, 64, (0, 1, 40))
    desk.run(1, lambda tape: multiply_one(tape, row, matrix, out))
    seen = taken(kind, x[0])
    close(rows_of(out, 1)[0], seen, w, w @ seen)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_shows_in_every_number_that_reads_it(desk: HipDesk, bad: float) -> None:
    raw, _ = weights("q4_0", 20, 64)
    x, out = normal(1, 64), desk.nothing(20, 1)
    x[0, 40] = bad
    row = desk.activation(x, 1)
    desk.run(1, lambda tape: multiply_one(tape, row, desk.matrix("q4_0", raw, 64), out))
    assert np.isnan(rows_of(out, 1)).all()
