"""Attention in cooperative matrices, or their emulation, against the reference in float64."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.backends.vulkan.ops.attending import Attending
from tests.backends.vulkan.ops.stage import Stage

from forge_gpu.steps.attention_coopmat import cooperative, suits

CONTEXT = 128
"""Longer ones are more than llvmpipe works through: it ends an invocation's loops after 65,535
rounds in all (LP_MAX_TGSI_LOOP_ITERATIONS), and the emulation takes 10,000 for 32 keys."""


def node_of(stage: Stage, *sizes: int, **more) -> Attending:
    node = Attending(stage, *sizes, dtype="f16", coopmat=True, **more)
    if not suits(stage.gpu.features, node.shape, node.cache):
        pytest.skip(f"{stage.gpu.features.shared_bytes} bytes of shared memory are too few")
    return node


@pytest.mark.parametrize(("heads", "kv_heads"), [(1, 1), (4, 4), (8, 2), (7, 1), (9, 3)])
def test_heads_that_share_keys_are_right(stage: Stage, heads, kv_heads):
    node = node_of(stage, heads, kv_heads, capacity=CONTEXT)
    node.check(range(21))
    node.check([21])
    node.check(range(22, 80))
    node.check(range(80, CONTEXT))


@pytest.mark.parametrize("size", [(16, 16), (48, 32), (128, 128), (256, 256)])
def test_heads_of_any_whole_size_are_right(stage: Stage, size):
    node = node_of(stage, 4, 2, size[0], value_size=size[1])
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
def test_windows_softcaps_and_sinks_are_right(stage: Stage, limits):
    node = node_of(stage, 6, 3, 16, capacity=CONTEXT, **limits)
    for start in range(0, CONTEXT, 50):
        node.check(range(start, min(start + 50, CONTEXT)))


def test_each_token_sees_its_own_slot_alone(stage: Stage):
    node = node_of(stage, slots=3)
    node.check([i // 3 for i in range(45)], [i % 3 for i in range(45)])
    node.check(range(15, 50), [1] * 35)


@pytest.mark.parametrize("factor", [1e-8, 1e6])
def test_queries_may_have_any_size(stage: Stage, factor):
    node = node_of(stage, 4, 1, 64)
    node.shape = replace(node.shape, scale=node.shape.scale / factor)
    q, k, v = node.inputs(40)
    found = node.prefill(q * np.float32(factor), k, v, range(40))
    truth = node.truth(q * np.float32(factor), k, v, range(40))
    assert np.abs(found - truth).max() < 0.01


def test_a_token_has_the_same_bits_in_any_company(stage: Stage):
    node = node_of(stage, 8, 2, 64)
    q, k, v = node.inputs(50)
    first = node.prefill(q, k, v, range(50))
    assert (first == node.prefill(q, k, v, range(50))).all()
    part = [x[37:41] for x in (q, k, v)]
    assert (first[37:41] == node.prefill(*part, range(37, 41))).all()


@pytest.mark.parametrize(("which", "bad"), [(1, np.nan), (2, np.nan), (2, np.inf)])
def test_what_is_no_number_reaches_only_the_tokens_that_see_it(stage: Stage, which, bad):
    node = node_of(stage, 4, 2, 64)
    tokens = node.inputs(60)
    tokens[which][10, 3] = bad  # kv head 0
    found = node.prefill(*tokens, range(60)).reshape(60, 4, 64)
    good = np.isfinite(found)
    assert good[:10].all()
    assert good[:, 2:].all()
    assert not good[10:, :2].all(axis=2).any()


def test_what_was_cut_never_shows_again(stage: Stage):
    node = node_of(stage, 4, 2, 64)
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
