"""exp, tanh and erf in float32: within 2e-7 of the true value, and right at the ends."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit
from numpy.typing import NDArray

from forge_cpu.kernels import functions

ERROR = 2e-7
SMALLEST = 1.2e-38
"""The least normal float32."""


def over(curve: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """The curve compiled, from array to array."""
    one = functions.of_one(curve)

    @njit
    def run(x: Any, out: Any) -> None:
        for i in range(x.shape[0]):
            out[i] = one(x[i])

    def apply(x: NDArray[Any]) -> NDArray[Any]:
        out = np.empty_like(x)
        run(x, out)
        return out

    return apply


CURVES = {
    "exp": (functions.exp, np.exp, -103.0, 88.7),
    "exp of negative": (functions.exp_of_negative, np.exp, -87.0, 0.0),
    "tanh": (functions.tanh, np.tanh, -12.0, 12.0),
    "erf": (functions.erf, np.vectorize(math.erf), -5.0, 5.0),
}


@pytest.mark.parametrize("name", CURVES)
def test_the_error_is_small_everywhere(name: str) -> None:
    curve, true, low, high = CURVES[name]
    tiny = np.geomspace(1e-37, 1.0, 20_001)
    x = np.concatenate([np.linspace(low, high, 200_001), -tiny, tiny if high > 1 else -tiny])
    x = x.astype(np.float32)
    found, expected = over(curve)(x), true(x.astype(np.float64))
    normal = np.abs(expected) > SMALLEST
    assert np.abs(found[normal] / expected[normal] - 1).max() < ERROR
    np.testing.assert_allclose(found[~normal], expected[~normal], atol=1.5e-45, rtol=0)


@pytest.mark.parametrize(
    ("name", "ends"),
    [("exp", [0, np.inf]), ("exp of negative", [0, None]), ("tanh", [-1, 1]), ("erf", [-1, 1])],
)
def test_infinity_and_nan_come_out_right(name: str, ends: list[float | None]) -> None:
    apply = over(CURVES[name][0])
    payload = np.array([0x7FC001FF], np.uint32).view(np.float32)[0]
    low, high, *nans = apply(np.array([-np.inf, np.inf, np.nan, -np.nan, payload], np.float32))
    assert low == ends[0]
    assert ends[1] is None or high == ends[1]
    assert np.isnan(nans).all()


def test_odd_curves_keep_the_sign_of_zero() -> None:
    for curve in (functions.tanh, functions.erf):
        assert np.signbit(over(curve)(np.array([-0.0, 0.0], np.float32))).tolist() == [True, False]
