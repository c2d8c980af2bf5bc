"""Every reference op against its definition, written out in loops over float64 numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from forge import reference
from forge.graph import Op

Array = np.ndarray[Any, Any]
F64 = np.float64
DTYPES = [np.float64, np.float32]


def close(got: Array, expected: Any, dtype: Any = np.float64) -> None:
    expected = np.array(expected, F64)
    assert got.dtype == dtype
    assert got.shape == expected.shape
    size = max(1.0, float(np.abs(expected).max(initial=0)))
    np.testing.assert_allclose(got, expected, rtol=0, atol=size * 10 * np.finfo(dtype).eps ** 0.9)


def random(*shape: int, seed: int = 0, dtype: Any = np.float64) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def test_every_op_has_a_kernel() -> None:
    assert set(reference.KERNELS) == set(Op)


def test_embed_looks_rows_up() -> None:
    table = random(5, 3)
    got = reference.embed(np.array([4, 0, 4], np.int32), table)
    close(got, [[table[i][j] for j in range(3)] for i in (4, 0, 4)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "width", "size"), [(3, 7, 7), (1, 1, 1), (4, 12, 4), (0, 6, 3)])
def test_rms_norm_divides_by_the_root_of_the_mean_square(
    rows: int, width: int, size: int, dtype: Any
) -> None:
    x, weight = random(rows, width, dtype=dtype), random(size, seed=1, dtype=dtype)
    expected = np.zeros((rows, width))
    for row in range(rows):
        for run in range(width // size):
            part = [float(v) for v in x[row, run * size : (run + 1) * size]]
            root = math.sqrt(math.fsum(v * v for v in part) / size + 1e-3)
            for i, v in enumerate(part):
                expected[row, run * size + i] = v / root * float(weight[i])
    close(reference.rms_norm(x, weight, epsilon=1e-3), expected, dtype)


def test_rms_norm_needs_no_weight() -> None:
    x = random(2, 5)
    close(
        reference.rms_norm(x, epsilon=0.0),
        [[v / math.sqrt(sum(u * u for u in row) / 5) for v in row] for row in x.tolist()],
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("parts", "size"), [(0, 6), (1, 6), (2, 6), (2, 3)])
def test_layer_norm_takes_the_mean_away_first(parts: int, size: int, dtype: Any) -> None:
    x = random(3, 6, dtype=dtype) + dtype(2)
    weight, bias = (random(size, seed=s, dtype=dtype) for s in (1, 2))
    expected = np.zeros((3, 6))
    for row in range(3):
        for run in range(6 // size):
            part = [float(v) for v in x[row, run * size : (run + 1) * size]]
            mean = math.fsum(part) / size
            spread = math.sqrt(math.fsum((v - mean) ** 2 for v in part) / size + 1e-5)
            for i, v in enumerate(part):
                out = (v - mean) / spread
                out = out * float(weight[i]) if parts > 0 else out
                out = out + float(bias[i]) if parts > 1 else out
                expected[row, run * size + i] = out
    close(reference.layer_norm(x, *[weight, bias][:parts], epsilon=1e-5), expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "inner", "out"), [(1, 1, 1), (3, 5, 2), (2, 1, 7), (0, 4, 3)])
def test_matmul_multiplies_by_the_transposed_weight(
    rows: int, inner: int, out: int, dtype: Any
) -> None:
    x, weight = random(rows, inner, dtype=dtype), random(out, inner, seed=1, dtype=dtype)
    expected = np.zeros((rows, out))
    for i in range(rows):
        for j in range(out):
            expected[i, j] = math.fsum(float(x[i, k]) * float(weight[j, k]) for k in range(inner))
    close(reference.matmul(x, weight), expected, dtype)


@pytest.mark.parametrize("shape", [(3, 4), (4,)])
def test_add_and_mul_take_a_matrix_or_one_row_for_all(shape: tuple[int, ...]) -> None:
    a, b = random(3, 4), random(*shape, seed=1)
    one = [[float(b[j]) if b.ndim == 1 else float(b[i, j]) for j in range(4)] for i in range(3)]
    close(reference.add(a, b), [[a[i, j] + one[i][j] for j in range(4)] for i in range(3)])
    close(reference.mul(a, b), [[a[i, j] * one[i][j] for j in range(4)] for i in range(3)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("style", ["norm", "neox"])
@pytest.mark.parametrize(("heads", "size", "pairs"), [(1, 2, 1), (3, 8, 4), (2, 10, 3)])
def test_rope_turns_each_pair_by_its_angle(
    heads: int, size: int, pairs: int, style: str, dtype: Any
) -> None:
    positions = np.array([0, 5, 131071, 3], np.int32)
    frequencies = tuple(100.0 ** (-i / pairs) for i in range(pairs))
    x = random(4, heads * size, dtype=dtype)
    expected = x.astype(F64)
    for t in range(4):
        for head in range(heads):
            for i in range(pairs):
                a, b = (2 * i, 2 * i + 1) if style == "norm" else (i, i + pairs)
                a, b = head * size + a, head * size + b
                turn = complex(
                    math.cos(float(positions[t]) * frequencies[i]),
                    math.sin(float(positions[t]) * frequencies[i]),
                )
                turned = complex(float(x[t, a]), float(x[t, b])) * turn * 1.25
                expected[t, a], expected[t, b] = turned.real, turned.imag
    got = reference.rope(
        x, positions, heads=heads, frequencies=frequencies, style=style, magnitude=1.25
    )
    close(got, expected, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_silu_is_x_times_its_sigmoid_far_out_too(dtype: Any) -> None:
    x = np.array([[-1000.0, -90.0, -1.5, 0.0, 1e-8, 2.0, 500.0]], dtype)
    up = random(1, 7, seed=1, dtype=dtype)

    def silu(v: float) -> float:
        return v / (1 + math.exp(-v)) if v > -700 else 0.0

    alone = [[silu(float(v)) for v in x[0]]]
    close(reference.silu_mul(x), alone, dtype)
    close(reference.silu_mul(x, up), np.array(alone) * up, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["tanh", "quick", "none"])
def test_gelu_is_x_times_the_normal_distribution(kind: str, dtype: Any) -> None:
    x = np.array([[-30.0, -3.0, -0.7, 0.0, 0.2, 1.0, 4.0, 30.0]], dtype)
    up = random(1, 8, seed=1, dtype=dtype)

    def gelu(v: float) -> float:
        if kind == "none":
            return v * (1 + math.erf(v / math.sqrt(2))) / 2
        if kind == "quick":
            return v / (1 + math.exp(-1.702 * v))
        return v / (1 + math.exp(min(700, -2 * math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))))

    alone = [[gelu(float(v)) for v in x[0]]]
    close(reference.gelu_mul(x, approximation=kind), alone, dtype)
    close(reference.gelu_mul(x, up, approximation=kind), np.array(alone) * up, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_softcap_and_scale_and_select_rows(dtype: Any) -> None:
    x = random(3, 5, dtype=dtype) * dtype(20)
    close(
        reference.softcap(x, cap=7.5),
        [[math.tanh(float(v) / 7.5) * 7.5 for v in row] for row in x],
        dtype,
    )
    close(reference.scale(x, factor=-0.3), [[float(v) * -0.3 for v in row] for row in x], dtype)
    rows = np.array([2, 0, 2], np.int32)
    close(reference.select_rows(x, rows), [x[2], x[0], x[2]], dtype)
    assert reference.select_rows(x, rows[:0]).shape == (0, 5)


@pytest.mark.parametrize("gating", ["softmax", "sigmoid", "softmax_selected"])
@pytest.mark.parametrize("activation", ["silu", "gelu", "swiglu_oai"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("used", [1, 2, 5])
@pytest.mark.parametrize("biased", [False, True])
def test_experts_mix_the_best_by_score(
    gating: str, activation: str, normalize: bool, used: int, biased: bool
) -> None:
    x, scores = random(4, 3), random(4, 5, seed=1)
    loud = 6 if activation == "swiglu_oai" else 1  # so that the clamps at 7 are met
    gate, up = loud * random(5, 6, 3, seed=2), loud * random(5, 6, 3, seed=3)
    down = random(5, 3, 6, seed=4)
    biases = [random(5, n, seed=5 + n) for n in (6, 6, 3)] if biased else []
    gate_bias, up_bias, down_bias = biases or (np.zeros((5, n)) for n in (6, 6, 3))
    expected = np.zeros((4, 3))

    def act(g: float, u: float) -> float:
        if activation == "swiglu_oai":
            g, u = min(g, 7.0), max(-7.0, min(u, 7.0)) + 1
            return u * g / (1 + math.exp(-1.702 * g))
        if activation == "silu":
            return u * g / (1 + math.exp(-g))
        return u * g / (1 + math.exp(-2 * math.sqrt(2 / math.pi) * (g + 0.044715 * g**3)))

    for t in range(4):
        best = sorted(range(5), key=lambda e: -scores[t, e])[:used]
        if gating == "sigmoid":
            weight = {e: 1 / (1 + math.exp(-scores[t, e])) for e in best}
        else:
            pool = best if gating == "softmax_selected" else range(5)
            total = math.fsum(math.exp(scores[t, e]) for e in pool)
            weight = {e: math.exp(scores[t, e]) / total for e in best}
        if normalize:
            total = math.fsum(weight.values())
            weight = {e: w / total for e, w in weight.items()}
        for e in best:
            hidden = [
                act(
                    float(gate[e, f] @ x[t] + gate_bias[e, f]),
                    float(up[e, f] @ x[t] + up_bias[e, f]),
                )
                for f in range(6)
            ]
            for i in range(3):
                out = math.fsum(float(down[e, i, f]) * hidden[f] for f in range(6))
                expected[t, i] += 1.5 * weight[e] * (out + float(down_bias[e, i]))
    got = reference.experts(
        x,
        scores,
        gate,
        up,
        down,
        *biases,
        used=used,
        activation=activation,
        gating=gating,
        normalize=normalize,
        factor=1.5,
    )
    close(got, expected)
