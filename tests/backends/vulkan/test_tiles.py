"""Products for many tokens against float64, at sizes that fill no tile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from tests.backends.vulkan.desk import Desk, rows_of

from forge.backend import BackendError
from forge.testing import random_blocks
from forge.weights import dequantize
from forge_gpu.formats import FORMATS
from forge_gpu.steps.tiles import Quantised, multiply, quantise

RANDOM = np.random.default_rng(8)
CODES = [kind for kind, form in FORMATS.items() if form.quantised]
NUMBERS = [kind for kind, form in FORMATS.items() if not form.quantised]
PLAIN = pytest.mark.parametrize("desk", ["", "dot"], indirect=True)


def product(desk: Desk, x, matrix, most=256, bias=None, residual=None, width=0):
    """The device's product, and x as it took it."""
    rows = desk.activation(x, most)
    out = desk.nothing(width or matrix.n, most)
    added = None if residual is None else desk.activation(residual, most)
    row = None if bias is None else desk.array(bias)
    taken = rows
    if matrix.quantised:
        taken = Quantised.over(desk.room(Quantised.size(x.shape[1], most)), rows)
        desk.run(len(x), lambda tape: quantise(tape, rows, taken))
    desk.run(len(x), lambda tape: multiply(tape, taken, matrix, out, row, added))
    if not matrix.quantised:
        return rows_of(out, len(x)), x.astype(np.float64)
    codes = taken.codes.view(np.int8)[: x.size].reshape(*x.shape[:1], -1, 16)
    scales = taken.scales.view(np.float32)[: x.size // 8].reshape(*x.shape[:1], -1, 2)
    exact = codes.astype(np.float64) * scales[..., :1]
    return rows_of(out, len(x)), exact.reshape(x.shape)


def close(got, x, w) -> None:
    """Within float32's rounding of sums of so many terms."""
    want, bound = x @ w.T, np.abs(x) @ np.abs(w.T)
    assert (np.abs(got - want) <= 1e-6 * bound + 1e-30).all()


def normal(*shape) -> np.ndarray:
    return RANDOM.standard_normal(shape, np.float32)


def weights(kind: str, n: int, k: int):
    raw = random_blocks(kind, (n, k), std=0.1, random=RANDOM)
    return raw, dequantize(raw, kind).astype(np.float64)


@pytest.mark.parametrize("kind", CODES)
def test_every_type_of_codes_is_multiplied_rightly(desk: Desk, kind: str) -> None:
    k = 768 if FORMATS[kind].columns == 256 else 288
    raw, w = weights(kind, 33, k)
    got, x = product(desk, normal(17, k), desk.matrix(kind, raw, k))
    close(got, x, w)


@pytest.mark.parametrize("kind", ["q4_0", "q8_0", "mxfp4", "q6_k", "f32", "f16", "bf16"])
@pytest.mark.parametrize(
    ("tokens", "n", "blocks"), [(1, 1, 1), (2, 100, 1), (64, 33, 2), (65, 65, 3)]
)
def test_sizes_that_fill_no_tile(desk: Desk, kind: str, tokens: int, n: int, blocks: int) -> None:
    k = blocks * FORMATS[kind].columns if kind in CODES else (1, 0, 37, 130)[blocks] or 5
    raw, w = weights(kind, n, k)
    got, x = product(desk, normal(tokens, k), desk.matrix(kind, raw, k))
    close(got, x, w)


@pytest.mark.parametrize("most", [1, 16, 17, 40, 100])
@pytest.mark.parametrize("kind", ["q4_1", "f16"])
def test_a_run_has_as_many_tokens_as_there_is_room_for(desk: Desk, kind: str, most: int) -> None:
    raw, w = weights(kind, 70, 96)
    matrix = desk.matrix(kind, raw, 96)
    for tokens in {1, most // 2 + 1, most}:
        got, x = product(desk, normal(tokens, 96), matrix, most)
        close(got, x, w)


@pytest.mark.parametrize("kind", ["q5_k", "bf16"])
def test_bias_and_residual_are_added_also_to_a_matrix_in_parts(desk: Desk, kind: str) -> None:
    raw, w = weights(kind, 150, 256)
    bias, residual = normal(150), normal(20, 150)
    got, x = product(
        desk, normal(20, 256), desk.matrix(kind, raw, 256, (0, 1, 90)), 256, bias, residual
    )
    want = x @ w.T + bias + residual
    assert np.abs(got - want).max() < 1e-5 * np.abs(want).max()


@pytest.mark.parametrize("kind", ["q3_k", "f32"])
def test_a_residual_may_be_where_the_sum_goes(desk: Desk, kind: str) -> None:
    raw, w = weights(kind, 70, 256)
    x, start = normal(3, 256), normal(3, 70)
    rows, out = desk.activation(x), desk.activation(start)
    taken = Quantised.over(desk.room(Quantised.size(256, 256)), rows)
    matrix = desk.matrix(kind, raw, 256)

    def write(tape) -> None:
        quantise(tape, rows, taken)
        multiply(tape, taken if matrix.quantised else rows, matrix, out, residual=out)

    desk.run(3, write)
    want = start + x @ w.T
    assert np.abs(rows_of(out, 3) - want).max() < 0.02 * np.abs(want).max()


def test_activations_are_rounded_to_the_nearest_of_255_levels(desk: Desk) -> None:
    x = normal(5, 96) * np.array([1e-30, 1e-3, 1.0, 1e4, 1e30], np.float32)[:, None]
    x[2, 16:32] = 0
    raw, _ = weights("q8_0", 1, 96)
    _, taken = product(desk, x, desk.matrix("q8_0", raw, 96))
    largest = np.abs(x.reshape(5, -1, 16)).max(-1, keepdims=True)
    wrong = np.abs(taken.reshape(5, -1, 16) - x.reshape(5, -1, 16))
    assert (wrong <= largest / 127 * 0.50001).all()
    assert (taken[2, 16:32] == 0).all()


@PLAIN
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["q4_0", "q8_0", "q6_k", "iq4_xs", "f16"])
def test_what_is_not_finite_shows_in_its_token_alone(desk: Desk, kind: str, bad: float) -> None:
    raw, _ = weights(kind, 40, 256)
    x = normal(20, 256)
    matrix = desk.matrix(kind, raw, 256)
    before, _ = product(desk, x, matrix)
    x[7, 100] = bad
    got, _ = product(desk, x, matrix)
    assert not np.isfinite(got[7]).any()
    others = np.arange(20) != 7
    assert np.array_equal(got[others], before[others])


@pytest.mark.parametrize("kind", ["q4_0", "q8_0", "f32"])
def test_a_weight_that_is_not_finite_shows_in_its_row_alone(desk: Desk, kind: str) -> None:
    raw, _ = weights(kind, 40, 64)
    x = normal(20, 64)
    before, _ = product(desk, x, desk.matrix(kind, raw, 64))
    raw = raw.copy()
    raw[11, :4] = np.array([np.nan], "<f4").view(np.uint8) if kind == "f32" else 0xFF
    got, _ = product(desk, x, desk.matrix(kind, raw, 64))
    assert np.isnan(got[:, 11]).all()
    others = np.arange(40) != 11
    assert np.array_equal(got[:, others], before[:, others])


@pytest.mark.parametrize("kind", NUMBERS)
def test_a_weight_that_is_not_finite_stays_in_its_row_also_where_rows_end_in_a_vector(
    desk: Desk, kind: str
) -> None:
    raw, w = weights(kind, 40, 37)
    x = normal(3, 37)
    raw[11, : raw.shape[1] // 37] = 0xFF
    got, _ = product(desk, x, desk.matrix(kind, raw, 37))
    assert np.isnan(got[:, 11]).all()
    others = np.arange(40) != 11
    close(got[:, others], x.astype(np.float64), w[others])


def test_what_lies_behind_the_last_block_is_not_multiplied(desk: Desk) -> None:
    raw, _ = weights("q8_0", 8, 32)  # eight scales fill their plane; then come the first codes
    raw[0, 2:4] = 0xFF, 0x7F  # NaN, as a scale
    w = dequantize(raw, "q8_0").astype(np.float64)
    got, x = product(desk, normal(3, 32), desk.matrix("q8_0", raw, 32))
    close(got, x, w)


@pytest.mark.parametrize("kind", ["q5_1", "q2_k", "f16"])
def test_the_bits_are_the_same_each_time_and_for_any_number_of_tokens(
    desk: Desk, kind: str
) -> None:
    raw, _ = weights(kind, 33, 256)
    matrix, x = desk.matrix(kind, raw, 256), normal(65, 256)
    whole, _ = product(desk, x, matrix)
    again, _ = product(desk, x, matrix)
    few, _ = product(desk, x[:3], matrix, most=7)
    assert np.array_equal(whole, again)
    assert np.array_equal(whole[:3], few)


@pytest.mark.parametrize("kind", CODES)
def test_a_device_without_dot_products_gets_the_same_bits(
    open_desk: Callable[[str], Desk], kind: str
) -> None:
    raw, _ = weights(kind, 20, 256)
    x = normal(9, 256)
    got, plain = (
        product(desk, x, desk.matrix(kind, raw, 256))[0]
        for desk in (open_desk(""), open_desk("dot"))
    )
    assert np.array_equal(got, plain)


def test_what_a_matrix_cannot_multiply_is_refused(desk: Desk) -> None:
    raw, _ = weights("q8_0", 4, 64)
    matrix, x = desk.matrix("q8_0", raw, 64), desk.nothing(64)
    with pytest.raises(BackendError, match="another x"):
        desk.run(1, lambda tape: multiply(tape, x, matrix, desk.nothing(4)))
