"""Norms, gates, sums, rotation and selection against the reference in float64."""

from __future__ import annotations

import numpy as np
import pytest
from tests.backends.vulkan.ops.stage import ROOM, Stage, error, read

from forge import reference
from forge_gpu.steps import elementwise, norms, rows
from forge_gpu.tape import ROWS

RANDOM = np.random.default_rng(7)
BOUND = 1e-11
"""Float32 throughout gives about 1e-14."""
PLAIN = pytest.mark.parametrize("stage", ["", "subgroups"], indirect=True)


def normal(*shape: int, spread: float = 1.0):
    return spread * RANDOM.standard_normal(shape, np.float32)


def f64(x):
    return np.asarray(x, np.float64)


@PLAIN
@pytest.mark.parametrize("kind", ["rms", "layer"])
@pytest.mark.parametrize(
    ("width", "size", "count"),
    [(64, 64, 3), (1, 1, 1), (7, 7, 33), (257, 257, 5), (4097, 4097, 2), (240, 80, 5), (16, 2, 3)],
)
def test_a_norm_is_right_in_each_run_of_columns(stage: Stage, kind, width, size, count):
    x, weight, bias = normal(count, width), normal(size), normal(size)
    out = stage.rows(width)
    biased = kind == "layer"
    stage.run(
        count,
        lambda tape: norms.norm(
            tape,
            kind,
            stage.activation(x),
            out,
            epsilon=1e-5,
            size=size,
            weight=stage.array(weight),
            bias=stage.array(bias) if biased else None,
        ),
    )
    truth = (
        reference.layer_norm(f64(x), f64(weight), f64(bias), epsilon=1e-5)
        if biased
        else reference.rms_norm(f64(x), f64(weight), epsilon=1e-5)
    )
    assert error(read(out, count), truth) < BOUND


@PLAIN
def test_a_norm_adds_a_residual_first_and_writes_the_sum_out(stage: Stage):
    x, r = normal(5, 300), normal(5, 300, spread=30.0)
    source, added, out = stage.activation(x), stage.rows(300), stage.rows(300)
    residual = stage.activation(r)
    stage.run(
        5,
        lambda tape: norms.norm(
            tape, "rms", source, out, epsilon=1e-6, residual=residual, added=added
        ),
    )
    assert (read(added, 5) == x + r).all()
    assert error(read(out, 5), reference.rms_norm(f64(x + r), epsilon=1e-6)) < BOUND


@pytest.mark.parametrize("kind", ["rms", "layer"])
@pytest.mark.parametrize("spread", [1e4, 1e-4])
def test_norms_are_exact_for_large_and_small_numbers(stage: Stage, kind, spread):
    x = normal(3, 65, spread=spread)
    out = stage.rows(65)
    stage.run(3, lambda tape: norms.norm(tape, kind, stage.activation(x), out, epsilon=1e-5))
    truth = reference.rms_norm if kind == "rms" else reference.layer_norm
    assert error(read(out, 3), truth(f64(x), epsilon=1e-5)) < BOUND


@PLAIN
def test_a_row_of_nan_stays_nan_and_alone(stage: Stage):
    x = normal(4, 130)
    x[1, 129], x[2, 0] = np.nan, np.inf
    out = stage.rows(130)
    stage.run(4, lambda tape: norms.norm(tape, "rms", stage.activation(x), out, epsilon=1e-5))
    found = read(out, 4)
    assert np.isnan(found[1]).all()
    assert np.isnan(found[2, 0])  # infinity over infinity
    assert np.isfinite(found[[0, 3]]).all()


@PLAIN
def test_a_row_has_the_same_bits_in_any_company(stage: Stage):
    x = normal(9, 1030)
    source, out, alone = stage.activation(x), stage.rows(1030), stage.rows(1030)
    stage.run(9, lambda tape: norms.norm(tape, "layer", source, out, epsilon=1e-5))
    single = stage.activation(x[4:5])
    stage.run(1, lambda tape: norms.norm(tape, "layer", single, alone, epsilon=1e-5))
    assert (read(out, 9)[4] == read(alone, 1)[0]).all()


@pytest.mark.parametrize("op", ["add", "mul"])
@pytest.mark.parametrize("one_row", [False, True])
@pytest.mark.parametrize(("width", "count"), [(64, 3), (1, 1), (7, 33), (1025, 5)])
def test_sums_and_products_are_right(stage: Stage, op, one_row, width, count):
    a, b = normal(count, width), normal(1 if one_row else count, width)
    out = stage.rows(width)
    other = stage.array(b) if one_row else stage.activation(b)
    stage.run(count, lambda tape: getattr(elementwise, op)(tape, stage.activation(a), other, out))
    assert (read(out, count) == getattr(reference, op)(a, b)).all()


@pytest.mark.parametrize("how", ["silu", "tanh", "quick", "none"])
@pytest.mark.parametrize("spread", [0.01, 1.0, 60.0])
@pytest.mark.parametrize("alone", [False, True])
def test_gates_are_right_from_tiny_to_saturated(stage: Stage, how, spread, alone):
    gate, up = normal(5, 267, spread=spread), normal(5, 267)
    out, first = stage.rows(267), stage.activation(gate)
    second = None if alone else stage.activation(up)
    other = None if alone else f64(up)
    if how == "silu":
        stage.run(5, lambda tape: elementwise.silu_mul(tape, first, second, out))
        truth = reference.silu_mul(f64(gate), other)
    else:
        stage.run(5, lambda tape: elementwise.gelu_mul(tape, first, second, out, approximation=how))
        truth = reference.gelu_mul(f64(gate), other, approximation=how)
    assert error(read(out, 5), truth) < BOUND


@pytest.mark.parametrize("how", ["silu", "tanh", "quick", "none"])
def test_gates_show_nan_and_infinity_where_the_reference_does(stage: Stage, how):
    gate = np.array([[0, -0.0, np.inf, -np.inf, np.nan, 3e38, -3e38, 100, -100]], np.float32)
    out, first = stage.rows(9), stage.activation(gate)
    with np.errstate(all="ignore"):
        if how == "silu":
            stage.run(1, lambda tape: elementwise.silu_mul(tape, first, None, out))
            truth = reference.silu_mul(gate)
        else:
            stage.run(
                1, lambda tape: elementwise.gelu_mul(tape, first, None, out, approximation=how)
            )
            truth = reference.gelu_mul(gate, approximation=how)
    np.testing.assert_allclose(read(out, 1), truth, rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("cap", [5.0, 50.0])
def test_a_softcap_bounds_whatever_comes(stage: Stage, cap):
    x = normal(5, 129, spread=40.0)
    x[0, :6] = [np.inf, -np.inf, np.nan, 1e30, -1e30, 1e-6]
    out = stage.rows(129)
    stage.run(5, lambda tape: elementwise.softcap(tape, stage.activation(x), out, cap=cap))
    found, truth = read(out, 5), reference.softcap(f64(x), cap=np.float64(cap))
    assert error(found, truth) < BOUND
    assert abs(found[0, 5] / 1e-6 - 1) < 1e-6


def test_a_scale_is_exact(stage: Stage):
    x, out = normal(17, 65), stage.rows(65)
    stage.run(17, lambda tape: elementwise.scale(tape, stage.activation(x), out, factor=-78.4))
    assert (read(out, 17) == reference.scale(x, factor=-78.4)).all()


@pytest.mark.parametrize("chosen", [[], [16], [0], list(range(16, -1, -1)), [3, 3, 16, 0, 3]])
def test_rows_are_selected_in_any_order_and_twice(stage: Stage, chosen):
    x, out = normal(17, 257), stage.rows(257, ROWS)
    stage.run(17, lambda tape: rows.select_rows(tape, stage.activation(x), out), rows=chosen)
    assert (read(out, len(chosen)) == x[chosen]).all()


@pytest.mark.parametrize("style", ["norm", "neox"])
@pytest.mark.parametrize(
    ("heads", "size", "dims", "magnitude", "start"),
    [(1, 64, 64, 1.0, 0), (5, 80, 80, 1.0, 1), (3, 96, 32, 1.3, 3), (1, 2, 2, 1.0, 0)]
    + [(2, 64, 64, 1.0, start) for start in (255, 4095, 131071, 1_000_000)],
)
def test_heads_turn_by_position_times_frequency(
    stage: Stage, style, heads, size, dims, magnitude, start
):
    x, out = normal(7, heads * size), stage.rows(heads * size)
    frequencies = np.float32(10000.0) ** (-2 * np.arange(dims // 2, dtype=np.float32) / dims)
    table, positions = stage.array(frequencies), list(range(start, start + 7))
    stage.run(
        7,
        lambda tape: rows.rope(tape, stage.activation(x), out, heads, table, magnitude, style),
        positions=positions,
    )
    truth = reference.rope(
        f64(x),
        np.array(positions),
        heads=heads,
        frequencies=tuple(frequencies.astype(float).tolist()),
        style=style,
        magnitude=magnitude,
    )
    assert error(read(out, 7), truth) < max(BOUND, (start * 2.0**-24) ** 2)


def test_a_recording_is_replayed_for_other_numbers_of_tokens(stage: Stage):
    x = normal(ROOM, 40)
    source, out = stage.activation(x), stage.rows(40)
    recorded = stage.record(lambda tape: elementwise.scale(tape, source, out, factor=2.0))
    for count in (1, 0, ROOM, 5):
        out.region.view()[:] = 0xFF
        stage.set(count)
        stage.queue.run([recorded])
        assert (read(out, count) == 2 * x[:count]).all()
