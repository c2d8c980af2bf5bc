"""SamplingParams: what is refused, and the way over the wire."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.errors import UsageError
from forge.sampling import SamplingParams

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("temperature", v) for v in (-0.1, NAN, INF, 1e-9, "hot", None, True)],
        *[("top_k", v) for v in (-1, 1.5, NAN, 2**31, "40", False)],
        *[(name, v) for name in ("top_p", "min_p", "typical_p") for v in (-0.01, 1.01, NAN, INF)],
        *[("repeat_penalty", v) for v in (0, -1.0, NAN, INF)],
        *[("presence_penalty", v) for v in (NAN, -INF, 1e9)],
        *[("frequency_penalty", v) for v in (NAN, INF, "1")],
        *[("penalty_window", v) for v in (-2, 0.5, None)],
        *[("logit_bias", v) for v in ([1, 2], {-1: 1.0}, {1.5: 1.0}, {1: NAN}, {1: INF}, {1: "x"})],
        *[("seed", v) for v in (-1, 2**64, 1.0, "1")],
    ],
)
def test_a_bad_value_is_refused_by_name_with_the_allowed_range(field: str, value: Any) -> None:
    with pytest.raises(UsageError) as refusal:
        SamplingParams(**{field: value})
    assert field in str(refusal.value)
    assert "allowed is" in str(refusal.value)


def test_numpy_numbers_become_plain_ones() -> None:
    params = SamplingParams(
        temperature=np.float32(0.5),  # type: ignore[arg-type]  # a caller's array hands these out
        top_k=np.int64(3),  # type: ignore[arg-type]  # the same
        logit_bias={np.int32(7): np.float64(1.5)},  # type: ignore[dict-item]  # the same
    )
    assert type(params.temperature) is float
    assert type(params.top_k) is int
    assert [type(v) for pair in params.logit_bias.items() for v in pair] == [int, float]


def test_the_callers_bias_can_change_without_changing_the_params() -> None:
    bias = {1: 2.0}
    params = SamplingParams(logit_bias=bias)
    bias[1] = 3.0
    assert params.logit_bias == {1: 2.0}


biases = st.floats(-1e30, 1e30) | st.just(-INF)
some_params = st.builds(
    SamplingParams,
    temperature=st.just(0.0) | st.floats(1e-6, 1e6),
    top_k=st.integers(0, 2**31 - 1),
    top_p=st.floats(0, 1),
    typical_p=st.floats(0, 1),
    presence_penalty=st.floats(-1000, 1000),
    penalty_window=st.integers(-1, 100),
    logit_bias=st.dictionaries(st.integers(0, 300_000), biases, max_size=5),
    seed=st.none() | st.integers(0, 2**64 - 1),
)


@given(some_params)
def test_params_survive_json(params: SamplingParams) -> None:
    text = json.dumps(params.to_dict(), allow_nan=False)
    assert SamplingParams.from_dict(json.loads(text)) == params


def test_an_unknown_parameter_is_named() -> None:
    with pytest.raises(UsageError, match="heat"):
        SamplingParams.from_dict({"heat": 1.0})


@pytest.mark.parametrize("bias", [[1], {"x": 1.0}, {"1": "inf"}, {"1": None}])
def test_a_malformed_bias_from_the_wire_is_refused(bias: Any) -> None:
    with pytest.raises(UsageError, match="logit_bias"):
        SamplingParams.from_dict({"logit_bias": bias})


def test_resolving_keeps_a_seed_and_otherwise_chooses_one() -> None:
    assert SamplingParams(seed=5).resolved().seed == 5
    chosen = {SamplingParams().resolved().seed for _ in range(8)}
    assert None not in chosen
    assert len(chosen) > 1
