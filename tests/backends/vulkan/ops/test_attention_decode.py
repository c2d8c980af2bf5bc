"""Attention of one token against the reference in float64, beside that of many tokens."""

from __future__ import annotations

import numpy as np
import pytest
from tests.backends.vulkan.ops.attending import Attending
from tests.backends.vulkan.ops.stage import Stage, error

from forge_gpu.steps.attention import Heads
from forge_gpu.steps.attention_decode import splits
from forge_gpu.steps.products import Coded

SHARED = [(1, 1), (8, 2), (7, 1), (20, 2)]
SIZES = [(80, 80), (72, 72), (256, 256), (192, 128), (16, 16), (6, 10)]


def codes_of(row: Coded):
    """Codes [groups, 16], their scales, and the scales times the sum of codes."""
    lines = row.width // 16
    codes = row.region.view(np.int8)[: 16 * lines].reshape(lines, 16).astype(float)
    pairs = row.region.view(np.float32)[4 * lines : 6 * lines].reshape(lines, 2)
    return codes, pairs[:, 0], pairs[:, 1]


@pytest.mark.parametrize(("heads", "kv_heads"), SHARED)
@pytest.mark.parametrize("shares", [1, 3])
def test_heads_that_share_keys_are_right(stage: Stage, heads, kv_heads, shares):
    node = Attending(stage, heads, kv_heads, capacity=260)
    node.check_decode(0, shares=shares)
    for start in range(1, 257, 64):
        node.check(range(start, start + 64))
    for position in (3, 63, 64, 65, 127, 128, 191, 192, 255, 257):
        node.check_decode(position, shares=shares)


@pytest.mark.parametrize("stage", ["subgroups"], indirect=True)
@pytest.mark.parametrize("dtype", ["f32", "f16", "q8_0"])
def test_a_device_without_arithmetic_over_subgroups_finds_the_same(stage: Stage, dtype):
    node = Attending(stage, 6, 2, 96, dtype=dtype, sinks=True, dims=64, softcap=30.0)
    for position in range(40):
        node.check_decode(position, shares=2)


@pytest.mark.parametrize(("heads", "size"), [(8, 128), (4, 16)])
def test_any_number_of_shares_is_merged(stage: Stage, heads, size):
    node = Attending(stage, heads, 1, size, capacity=420, dtype="f16")
    for start in range(0, 384, 64):
        node.check(range(start, start + 64))
    for position in (15, 16, 130, 300, 384, 385):
        node.check_decode(position, shares=26)


@pytest.mark.parametrize(("heads", "kv_heads", "size"), [(4, 2, 64), (10, 1, 80), (3, 3, 16)])
@pytest.mark.parametrize("shares", [1, 3])
def test_a_row_goes_out_as_int8_too(stage: Stage, heads, kv_heads, size, shares):
    node = Attending(stage, heads, kv_heads, size, coded=True)
    for position in range(33):
        tokens = node.inputs(1)
        found = node.decode(*tokens, position, shares=shares)
        assert error(found, node.truth(*tokens, [position])) < node.bound
        codes, scales, sums = codes_of(node.coded)
        groups = found.reshape(-1, 16)
        assert scales == pytest.approx(np.abs(groups).max(axis=1) / 127, rel=1e-6)
        assert (np.abs(codes * scales[:, None] - groups) <= 0.5001 * scales[:, None]).all()
        assert sums == pytest.approx(scales * codes.sum(axis=1))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_makes_its_groups_scales_none(stage: Stage, bad):
    node = Attending(stage, 4, 2, 64, coded=True)
    tokens = node.inputs(1)
    tokens[2][0, 20] = bad  # kv head 0, columns 16 to 31
    node.decode(*tokens, 0)
    _, scales, _ = codes_of(node.coded)
    assert np.isnan(scales).nonzero()[0].tolist() == [1, 5]


def test_values_that_are_no_whole_groups_do_not_go_out_as_int8(stage: Stage):
    node = Attending(stage, 4, 2, 72, coded=True)
    with pytest.raises(ValueError, match="72"):
        node.decode(*node.inputs(1), 0)


@pytest.mark.parametrize(
    ("size", "tile", "dtype"),
    [(96, 64, "f16"), (96, 32, "q8_0")],
)
def test_larger_tiles_give_the_same(stage: Stage, size, tile, dtype):
    node = Attending(stage, 4, 2, size, tile=tile, capacity=200, dtype=dtype, window=150)
    for start in range(0, 180, 60):
        node.check(range(start, start + 60))
    for position in (0, 20, 63, 64, 150, 170, 190):
        node.check_decode(position, shares=2)


@pytest.mark.parametrize(
    ("size", "value_size", "dtype"),
    [(*size, ("f32", "f16")[index % 2]) for index, size in enumerate(SIZES)],
)
def test_heads_of_any_size_are_right(stage: Stage, size, value_size, dtype):
    node = Attending(stage, 4, 2, size, value_size=value_size, dtype=dtype)
    for position in range(35):
        node.check_decode(position, shares=2)


def test_a_cache_of_bytes_is_right(stage: Stage):
    node = Attending(stage, 4, 2, 96, dtype="q8_0", capacity=200)
    for start in range(0, 150, 50):
        node.check(range(start, start + 50))
    for position in range(150, 200, 7):
        node.check_decode(position - 150)
        node.check_decode(position)


@pytest.mark.parametrize("dtype", ["f16", "q8_0"])
@pytest.mark.parametrize("style", ["norm", "neox"])
def test_keys_and_queries_turn_on_their_way(stage: Stage, style, dtype):
    node = Attending(stage, 6, 2, 96, style=style, dims=64, magnitude=1.2, dtype=dtype)
    for position in range(24):
        node.check_decode(position)
    node.check(range(24, 30))


def test_far_positions_turn_as_exactly_as_near_ones(stage: Stage):
    node = Attending(stage, 2, 1, 64, dims=64, capacity=131_073, window=40)
    for position in range(131_040, 131_073):
        tokens = node.inputs(1)
        found = node.decode(*tokens, position)
        if position > 131_071:
            assert error(found, node.truth(*tokens, [position])) < 1e-4
        else:
            node.truth(*tokens, [position])


@pytest.mark.parametrize("window", [1, 5, 16, 65, 1000])
def test_a_window_sees_its_last_positions(stage: Stage, window):
    node = Attending(stage, window=window, capacity=200)
    for start in range(0, 150, 50):
        node.check(range(start, start + 50))
    for position in range(150, 200, 3):
        node.check_decode(position)
        node.check_decode(position - 60)


@pytest.mark.parametrize(
    "limits",
    [{"softcap": 5.0}, {"sinks": True}, {"sinks": True, "window": 9, "softcap": 20.0}],
)
@pytest.mark.parametrize("shares", [1, 4])
def test_softcaps_and_sinks_are_right(stage: Stage, limits, shares):
    node = Attending(stage, 6, 3, capacity=300, **limits)
    for start in range(0, 256, 64):
        node.check(range(start, start + 64))
    for position in (0, 5, 63, 64, 200, 255):
        node.check_decode(position, shares=shares)


def test_each_token_sees_its_own_slot_alone(stage: Stage):
    node = Attending(stage, slots=3)
    for position in range(20):
        for slot in (2, 0):
            node.check_decode(position, slot)
    node.check_decode(0, 1)


def test_a_replay_gives_the_same_bits(stage: Stage):
    node = Attending(stage, 8, 2, capacity=300)
    for start in range(0, 256, 64):
        node.check(range(start, start + 64))
    tokens = node.inputs(1)
    first = node.decode(*tokens, 256, shares=4)
    for _ in range(5):
        assert (node.decode(*tokens, 256, shares=4) == first).all()


@pytest.mark.parametrize("dtype", ["f16", "q8_0"])
@pytest.mark.parametrize("which", [1, 2])
def test_what_is_no_number_is_seen_and_after_a_cut_it_is_not(stage: Stage, dtype, which):
    node = Attending(stage, 4, 2, 96, dtype=dtype, capacity=300)
    for start in range(0, 128, 64):
        node.check(range(start, start + 64))
    tokens = node.inputs(1)
    tokens[which][0, 3] = np.nan  # kv head 0
    for position in (128, 129):
        found = node.decode(*tokens, position).reshape(4, 96)
        assert np.isnan(found[:2]).any(axis=1).all()
        assert np.isfinite(found[2:]).all()
    for position in (127, 128, 129, 130):
        node.check_decode(position)


def test_a_window_forgets_what_was_no_number(stage: Stage):
    node = Attending(stage, 4, 2, 64, window=10)
    tokens = node.inputs(1)
    tokens[2][:] = np.nan
    for position in range(30):
        if position == 12:
            node.decode(*tokens, 12)
            node.truth(*tokens, [12])
        elif position <= 12 or position >= 22:
            node.check_decode(position)
        else:
            given = node.inputs(1)
            assert np.isnan(node.decode(*given, position)).all()
            node.truth(*given, [position])


def test_keys_are_split_among_three_work_groups_a_compute_unit():
    llama = Heads(32, 8, 128, 128, 0.1)
    assert splits(132, llama, 8192) == 49
    assert splits(132, llama, 256) == 8
    assert splits(132, llama, 20) == 1
    assert splits(132, Heads(9, 3, 64, 64, 0.1), 8192) == 64
    assert splits(2, llama, 8192) == 1
