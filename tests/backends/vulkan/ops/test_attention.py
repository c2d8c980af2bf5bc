"""Attention of many tokens over the caches against the reference in float64."""

from __future__ import annotations

import numpy as np
import pytest
from tests.backends.vulkan.ops.attending import Attending, held
from tests.backends.vulkan.ops.stage import Stage, error

from forge_gpu.steps.attention import attention
from forge_gpu.tape import Tape

SHARED = [(1, 1), (4, 4), (8, 2), (7, 1), (6, 2), (9, 3)]
SIZES = [(80, 80), (72, 72), (256, 256), (192, 128), (64, 112), (6, 10)]


@pytest.mark.parametrize(("heads", "kv_heads"), SHARED)
def test_heads_that_share_keys_are_right(stage: Stage, heads, kv_heads):
    node = Attending(stage, heads, kv_heads)
    node.check(range(21))
    node.check([21])
    node.check(range(22, 60))


@pytest.mark.parametrize(
    ("size", "value_size", "dtype"),
    [(*size, ("f32", "f16")[index % 2]) for index, size in enumerate(SIZES)],
)
def test_heads_of_any_size_are_right(stage: Stage, size, value_size, dtype):
    node = Attending(stage, 4, 2, size, value_size=value_size, dtype=dtype)
    node.check(range(35))
    node.check(range(35, 40))


@pytest.mark.parametrize(("rows_each", "size"), [(2, 96), (4, 96)])
def test_larger_tiles_give_the_same(stage: Stage, rows_each, size):
    node = Attending(stage, 6, 2, size, slots=2, rows_each=rows_each, dtype="f16")
    node.check([i // 2 for i in range(60)], [i % 2 for i in range(60)])
    node.check(range(30, 57))


@pytest.mark.parametrize("size", [32, 96])
def test_a_cache_of_bytes_is_right(stage: Stage, size):
    node = Attending(stage, 4, 2, size, dtype="q8_0")
    node.check(range(33))
    node.check(range(33, 37))


@pytest.mark.parametrize("dtype", ["f16", "q8_0"])
@pytest.mark.parametrize("style", ["norm", "neox"])
def test_keys_and_queries_turn_on_their_way(stage: Stage, style, dtype):
    node = Attending(stage, 6, 2, 96, style=style, dims=64, magnitude=1.2, dtype=dtype)
    node.check(range(20))
    node.check(range(20, 30))


@pytest.mark.parametrize("window", [1, 5, 16, 33, 1000])
def test_a_window_sees_its_last_positions(stage: Stage, window):
    node = Attending(stage, window=window, capacity=200)
    for start in range(0, 200, 50):
        node.check(range(start, start + 50))


@pytest.mark.parametrize(
    "limits",
    [
        {"softcap": 5.0},
        {"softcap": 50.0},
        {"sinks": True},
        {"sinks": True, "window": 9, "softcap": 20.0},
        {"causal": False},
        {"causal": False, "window": 7},
    ],
)
def test_softcaps_sinks_and_other_masks_are_right(stage: Stage, limits):
    node = Attending(stage, 6, 3, **limits)
    node.check(range(33))
    node.check(range(33, 50))


@pytest.mark.parametrize("causal", [True, False])
def test_each_token_sees_its_own_slot_alone(stage: Stage, causal):
    node = Attending(stage, slots=3, causal=causal)
    node.check([i // 3 for i in range(45)], [i % 3 for i in range(45)])
    node.check([15, 15, 16, 17, 16], [2, 0, 0, 0, 2])


def test_the_same_run_gives_the_same_bits_and_a_token_has_them_in_any_company(stage: Stage):
    node = Attending(stage, 8, 2, 80)
    q, k, v = node.inputs(50)
    first = node.prefill(q, k, v, range(50))
    assert (first == node.prefill(q, k, v, range(50))).all()
    part = [x[37:41] for x in (q, k, v)]
    assert (first[37:41] == node.prefill(*part, range(37, 41))).all()


@pytest.mark.parametrize("dtype", ["f16", "q8_0"])
@pytest.mark.parametrize(("which", "bad"), [("k", np.nan), ("v", np.nan), ("v", np.inf)])
def test_what_is_no_number_reaches_only_the_tokens_that_see_it(stage: Stage, dtype, which, bad):
    node = Attending(stage, 4, 2, 96, dtype=dtype, slots=2)
    q, k, v = node.inputs(40)
    positions, slots = [i // 2 for i in range(40)], [i % 2 for i in range(40)]
    {"k": k, "v": v}[which][21, 3] = bad  # position 10 of slot 1, kv head 0
    found = node.prefill(q, k, v, positions, slots).reshape(40, 4, 96)
    sees = np.array([i >= 21 and i % 2 == 1 for i in range(40)])
    good = np.isfinite(found)
    assert good[~sees].all()
    assert good[:, 2:].all()
    assert not good[sees, :2].all(axis=2).any()


def test_a_number_too_large_for_half_precision_shows_as_infinity(stage: Stage):
    node = Attending(stage, 1, 1, 72, dtype="f16")
    q, k, v = node.inputs(2)
    v[1, :3] = [65519.0, 65520.0, -1e6]
    found = node.prefill(q, k, v, range(2))
    assert np.isfinite(found[0]).all()
    assert np.isfinite(found[1, 0])
    assert (found[1, 1:3] == [np.inf, -np.inf]).all()


def test_half_precision_rounds_to_the_nearest(stage: Stage):
    node = Attending(stage, 1, 1, 72, dtype="f16")
    q, k, v = node.inputs(1)
    v[0, :4] = [1 + 2**-11, 1 + 3 * 2**-11, 1e-7, 5.97e-8]
    assert error(node.prefill(q, k, v, [0]), held(v.astype(np.float64), "f16")) < 1e-14


def test_what_was_cut_never_shows_again(stage: Stage):
    node = Attending(stage, 4, 2, 64)
    node.check(range(40))
    q, k, v = node.inputs(20)
    v[:] = np.nan
    node.prefill(q, k, v, range(40, 60))  # a run that went wrong, and was cut
    node.check(range(30, 45))
    node.check(range(45, 64))


@pytest.mark.parametrize("rows_each", [1, 4])
def test_only_the_rows_that_were_left_are_computed(stage: Stage, rows_each):
    node = Attending(stage, 8, 2, dtype="f16")
    tokens = node.inputs(40)  # 160 rows of each kv head
    whole = node.prefill(*tokens, range(40)).reshape(40, 2, 4, 64)
    flags = np.array([[1, 0, 1], [0, 1, 0]], np.uint32)  # by kv head and 64 rows, or 16 tokens
    left, out = stage.room(24), stage.rows(8 * 64, most=40)
    left.view(np.uint32)[:] = flags.ravel()
    query = stage.activation(tokens[0], most=40)

    def write(tape: Tape) -> None:
        attention(tape, node.shape, node.cache, query, out, left=left, rows_each=rows_each)

    stage.run(40, write, positions=range(40))
    found = out.region.view(np.float32).reshape(40, 2, 4, 64)
    for token in range(40):
        for kv_head in range(2):
            if flags[kv_head, token // 16]:
                assert (found[token, kv_head] == whole[token, kv_head]).all()
            else:
                assert np.isnan(found[token, kv_head]).all()
