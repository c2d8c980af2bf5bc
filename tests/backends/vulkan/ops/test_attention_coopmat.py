"""Attention in cooperative matrices against the reference in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.backends.vulkan.ops.attending import Attending
from tests.backends.vulkan.ops.stage import Stage

from forge_vulkan.steps.attention_coopmat import cooperative


@pytest.fixture
def matrices(stage: Stage) -> Stage:
    """A device that has them."""
    if not stage.gpu.features.coopmat:
        pytest.skip(f"{stage.gpu.listed.device.name} has no cooperative matrices of 16-bit floats")
    return stage


def node_of(stage: Stage, *sizes: int, **more) -> Attending:
    return Attending(stage, *sizes, dtype="f16", coopmat=True, **more)


@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (4, 4), (8, 2), (7, 1), (9, 3)])
@pytest.mark.parametrize("size", [64, 128])
def test_heads_that_share_keys_are_right(matrices: Stage, heads, kv_heads, size):
    node = node_of(matrices, heads, kv_heads, size, capacity=200)
    node.check(range(21))
    node.check([21])
    for start in (22, 80, 140):
        node.check(range(start, start + 58))


@pytest.mark.parametrize("size", [(16, 16), (80, 80), (256, 256), (192, 128), (64, 112)])
def test_heads_of_any_whole_size_are_right(matrices: Stage, size):
    node = node_of(matrices, 4, 2, size[0], value_size=size[1])
    node.check(range(35))
    node.check(range(35, 60))


@pytest.mark.parametrize(
    "limits",
    [
        {"window": 1},
        {"window": 33},
        {"softcap": 5.0},
        {"sinks": True},
        {"sinks": True, "window": 40, "softcap": 20.0},
    ],
)
def test_windows_softcaps_and_sinks_are_right(matrices: Stage, limits):
    node = node_of(matrices, 6, 3, 64, capacity=200, **limits)
    for start in range(0, 200, 50):
        node.check(range(start, start + 50))


def test_each_token_sees_its_own_slot_alone(matrices: Stage):
    node = node_of(matrices, slots=3)
    node.check([i // 3 for i in range(45)], [i % 3 for i in range(45)])
    node.check(range(15, 50), [1] * 35)


@pytest.mark.parametrize("factor", [1e-8, 1e6])
def test_queries_may_have_any_size(matrices: Stage, factor):
    node = node_of(matrices, 4, 1, 64)
    node.shape = replace(node.shape, scale=node.shape.scale / factor)
    q, k, v = node.inputs(40)
    found = node.prefill(q * np.float32(factor), k, v, range(40))
    truth = node.truth(q * np.float32(factor), k, v, range(40))
    assert np.abs(found - truth).max() < 0.01


def test_a_token_has_the_same_bits_in_any_company(matrices: Stage):
    node = node_of(matrices, 8, 2, 64)
    q, k, v = node.inputs(50)
    first = node.prefill(q, k, v, range(50))
    assert (first == node.prefill(q, k, v, range(50))).all()
    part = [x[37:41] for x in (q, k, v)]
    assert (first[37:41] == node.prefill(*part, range(37, 41))).all()


@pytest.mark.parametrize(("which", "bad"), [(1, np.nan), (2, np.nan), (2, np.inf)])
def test_what_is_no_number_reaches_only_the_tokens_that_see_it(matrices: Stage, which, bad):
    node = node_of(matrices, 4, 2, 64)
    tokens = node.inputs(60)
    tokens[which][10, 3] = bad  # kv head 0
    found = node.prefill(*tokens, range(60)).reshape(60, 4, 64)
    good = np.isfinite(found)
    assert good[:10].all()
    assert good[:, 2:].all()
    assert not good[10:, :2].all(axis=2).any()


def test_what_was_cut_never_shows_again(matrices: Stage):
    node = node_of(matrices, 4, 2, 64)
    node.check(range(40))
    q, k, v = node.inputs(20)
    v[:] = np.nan
    node.prefill(q, k, v, range(40, 60))  # a run that went wrong, and was cut
    node.check(range(30, 45))
    node.check(range(45, 64))


def test_what_the_kernel_cannot_do_is_known_when_it_is_recorded(stage: Stage):
    able = replace(stage.gpu.features, coopmat=True, shared_bytes=49152)
    node = Attending(stage, 4, 2, 128, dtype="f16")
    assert cooperative(able, node.shape, node.cache)
    assert cooperative(able, replace(node.shape, size=256, value_size=256), node.cache)
    assert not cooperative(replace(able, coopmat=False), node.shape, node.cache)
    assert not cooperative(replace(able, shared_bytes=16384), node.shape, node.cache)
    assert not cooperative(able, replace(node.shape, causal=False), node.cache)
    assert not cooperative(able, replace(node.shape, size=72), node.cache)
    assert not cooperative(able, node.shape, replace(node.cache, dtype="q8_0"))
