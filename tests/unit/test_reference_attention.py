"""Reference attention against its definition, written out in loops over float64 numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from forge import reference

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


def attended(
    q: Array,
    keys: dict[tuple[int, int], Array],
    values: dict[tuple[int, int], Array],
    at: tuple[int, int],
    options: dict[str, Any],
    sinks: Array | None,
) -> list[float]:
    """One token's answer: every score, weight and sum by itself."""
    slot, position = at
    heads, kv_heads = options["heads"], options["kv_heads"]
    out: list[float] = []
    size = len(q) // heads
    for head in range(heads):
        kv = head * kv_heads // heads
        scores: list[tuple[float, Array]] = []
        for (other, place), key in keys.items():
            if other != slot or (options["causal"] and place > position):
                continue
            if options["window"] and position - place >= options["window"]:
                continue
            mine, theirs = q[head * size : (head + 1) * size], key[kv * size : (kv + 1) * size]
            score = math.fsum(float(a) * float(b) for a, b in zip(mine, theirs, strict=True))
            score *= options["scale"]
            if options["softcap"]:
                score = math.tanh(score / options["softcap"]) * options["softcap"]
            wide = len(values[other, place]) // kv_heads
            scores.append((score, values[other, place][kv * wide : (kv + 1) * wide]))
        total = math.fsum(math.exp(score) for score, _ in scores)
        total += math.exp(float(sinks[head])) if sinks is not None else 0.0
        wide = len(scores[0][1])
        out += [
            math.fsum(math.exp(s) * float(v[i]) for s, v in scores) / total for i in range(wide)
        ]
    return out


CASES: list[dict[str, Any]] = [
    {},
    {"heads": 6, "kv_heads": 2},
    {"heads": 5, "kv_heads": 1, "size": 3, "value": 7},
    {"heads": 3, "kv_heads": 3, "size": 1},
    {"window": 1},
    {"window": 3},
    {"window": 100},
    {"softcap": 2.0},
    {"sinks": True},
    {"sinks": True, "window": 2, "softcap": 1.5, "heads": 4, "kv_heads": 2, "scale": 0.3},
    {"causal": False},
    {"causal": False, "window": 4},
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES, ids=lambda c: "-".join(c) or "plain")
def test_attention_weighs_the_values_it_may_see(case: dict[str, Any], dtype: Any) -> None:
    options: dict[str, Any] = {
        "heads": 2,
        "kv_heads": 1,
        "scale": 0.7,
        "causal": True,
        "window": 0,
        "softcap": 0.0,
    }
    options |= {k: v for k, v in case.items() if k in options}
    size, value = case.get("size", 4), case.get("value", case.get("size", 4))
    kv_heads = options["kv_heads"]
    sinks = random(options["heads"], seed=9, dtype=dtype) if case.get("sinks") else None
    caches = [np.zeros((2, kv_heads, 16, n), dtype) for n in (size, value)]
    keys: dict[tuple[int, int], Array] = {}
    values: dict[tuple[int, int], Array] = {}
    # Two sequences interleaved: a prompt each, then more of the one, then one token of both.
    runs = [
        [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2), (1, 2), (0, 3)],
        [(1, 3), (1, 4), (1, 5)],
        [(0, 4), (1, 6)],
    ]
    for seed, run in enumerate(runs):
        q = random(len(run), options["heads"] * size, seed=3 * seed, dtype=dtype)
        k = random(len(run), kv_heads * size, seed=3 * seed + 1, dtype=dtype)
        v = random(len(run), kv_heads * value, seed=3 * seed + 2, dtype=dtype)
        for i, place in enumerate(run):
            keys[place], values[place] = k[i], v[i]
        expected = [attended(q[i], keys, values, run[i], options, sinks) for i in range(len(run))]
        slots, positions = (np.array(column, np.int32) for column in zip(*run, strict=True))
        got = reference.attention(q, k, v, caches[0], caches[1], positions, slots, sinks, **options)
        close(got, expected, dtype)
    for (slot, position), key in keys.items():
        close(caches[0][slot, :, position].reshape(-1), key, dtype)
        close(caches[1][slot, :, position].reshape(-1), values[slot, position], dtype)
    assert not caches[0][0, :, 5:].any()


def test_attention_over_a_long_context_is_done_in_parts() -> None:
    heads, size, reach, count = 64, 2, 9000, 5
    caches = [random(1, 1, reach, size, seed=s) for s in (1, 2)]
    q, k, v = (random(count, n * size, seed=s) for n, s in ((heads, 3), (1, 4), (1, 5)))
    positions = np.arange(reach - count, reach, dtype=np.int32)
    slots = np.zeros(count, np.int32)
    got = reference.attention(
        q, k, v, caches[0], caches[1], positions, slots, heads=heads, kv_heads=1, scale=1.0
    )
    for t, position in enumerate(positions):
        for head in range(heads):
            seen = caches[0][0, 0, : position + 1] @ q[t, head * size : (head + 1) * size]
            weights = np.exp(seen)
            expected = weights @ caches[1][0, 0, : position + 1] / weights.sum()
            close(got[t, head * size : (head + 1) * size], expected)
