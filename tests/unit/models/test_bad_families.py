"""What a family adds to a file is held to rules as well: experts, windows, caps, multipliers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from .refusal import KIND, Edit, opened, refused

MIXED = ["llama", "qwen2moe", "qwen3moe"]


@pytest.mark.parametrize("architecture", MIXED)
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("expert_count", 4, "expert_count is 4, but blk.0.ffn_gate_inp.weight says 3"),
        ("expert_count", (-1, KIND.INT32), "expert_count is -1"),
        ("expert_used_count", 0, "expert_used_count is 0"),
        ("expert_used_count", 4, "expert_used_count is 4, more than the 3 experts"),
        ("expert_used_count", None, "expert_used_count is missing"),
    ],
)
def test_numbers_of_experts_that_cannot_be_are_refused(
    key: str, value: Any, words: str, architecture: str, edit: Edit
) -> None:
    refused(edit(architecture, {f"{{a}}.{key}": value}, experts=3), f"{architecture}.{words}")


@pytest.mark.parametrize(
    ("architecture", "key", "tensor"),
    [
        ("llama", "feed_forward_length", "ffn_up_exps"),
        ("qwen3moe", "expert_feed_forward_length", "ffn_up_exps"),
        ("granitemoe", "feed_forward_length", "ffn_up_exps"),
        ("qwen2moe", "expert_shared_feed_forward_length", "ffn_up_shexp"),
    ],
)
def test_the_size_of_an_expert_is_what_its_tensors_say(
    architecture: str, key: str, tensor: str, edit: Edit
) -> None:
    opened(edit(architecture, {f"{{a}}.{key}": None}, experts=3))
    path = edit(architecture, {f"{{a}}.{key}": 7}, experts=3)
    refused(path, f"{architecture}.{key} is 7, but blk.0.{tensor}.weight says")


@pytest.mark.parametrize(
    "name",
    [
        *("ffn_gate_inp", "ffn_gate_exps", "ffn_up_exps", "ffn_down_exps", "ffn_gate_inp_shexp"),
        *("ffn_gate_shexp", "ffn_up_shexp", "ffn_down_shexp"),
    ],
)
def test_a_missing_or_misshapen_part_of_the_experts_is_named(name: str, edit: Edit) -> None:
    tensor = f"blk.1.{name}.weight"
    refused(edit("qwen2moe", {}, {tensor: None}), f"tensor {tensor} is missing")
    for shape in ((5,), (5, 64), (5, 64, 64)):
        wrong = {tensor: np.ones(shape, np.float32)}
        if name == "ffn_gate_inp" and shape == (5, 64):
            opened(edit("qwen2moe", {}, wrong))
        else:
            refused(edit("qwen2moe", {}, wrong), "blk.1.ffn")


@pytest.mark.parametrize("name", ["rope_factors_long", "rope_factors_short"])
def test_long_and_short_rope_factors_are_held_to_the_same(name: str, edit: Edit) -> None:
    original = 4096 if name.endswith("short") else 16
    scaling = {"type": "longrope", "factor": 4.0, "original_context": original}
    for factors in (np.ones(7, np.float32), np.zeros(8, np.float32)):
        path = edit("phi3", {}, {f"{name}.weight": factors}, rope_scaling=scaling)
        refused(path, f"{name}.weight")


def test_a_fused_tensor_of_another_shape_is_named(edit: Edit) -> None:
    for name in ("attn_qkv", "ffn_up"):
        tensor = f"blk.1.{name}.weight"
        path = edit("phi3", {}, {tensor: np.ones((127, 64), np.float32)})
        refused(path, f"tensor {tensor} has shape [127, 64]")


@pytest.mark.parametrize("architecture", ["gemma2", "gemma3", "gpt-oss"])
@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("sliding_window", (-1, KIND.INT32), "sliding_window is -1"),
        ("sliding_window", (2**40, KIND.UINT64), "sliding_window is 1099511627776"),
        ("sliding_window_pattern", (-2, KIND.INT32), "sliding_window_pattern is -2"),
        ("sliding_window_pattern", [True], "needs 2 truth values, one a layer, and has 1"),
        ("sliding_window_pattern", [0.5, 0.5], "needs 2 truth values, one a layer, and has 2"),
        ("sliding_window_pattern", "2", "sliding_window_pattern"),
    ],
)
def test_windows_that_cannot_be_are_refused(
    key: str, value: Any, words: str, architecture: str, edit: Edit
) -> None:
    path = edit(architecture, {f"{{a}}.attention.{key}": value})
    refused(path, f"{architecture}.attention.{key}", words)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_caps_that_cannot_be_are_refused(value: float, edit: Edit) -> None:
    for key in ("attn_logit_softcapping", "final_logit_softcapping"):
        refused(edit("gemma2", {f"{{a}}.{key}": value}), f"gemma2.{key} is {value}")


def test_gpt_oss_needs_a_window_and_all_of_its_biases(edit: Edit) -> None:
    path = edit("gpt-oss", {"{a}.attention.sliding_window": None})
    refused(path, "gpt-oss.attention.sliding_window is missing")
    for name in ("attn_sinks.weight", "ffn_up_exps.bias", "post_attention_norm.weight"):
        tensor = f"blk.1.{name}"
        refused(edit("gpt-oss", {}, {tensor: None}), f"tensor {tensor} is missing")
        wrong = {tensor: np.ones((2, 3), np.float32)}
        refused(edit("gpt-oss", {}, wrong), f"tensor {tensor} has shape [2, 3]")


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf"), 1e-40])
def test_multipliers_that_cannot_be_are_refused(value: float, edit: Edit) -> None:
    for key in ("logit_scale", "embedding_scale", "residual_scale", "attention.scale"):
        refused(edit("granite", {f"{{a}}.{key}": value}), f"granite.{key} is ")


def test_granite_needs_what_divides_its_logits(edit: Edit) -> None:
    for value in (None, 0.0):
        path = edit("granite", {"{a}.logit_scale": value})
        refused(path, "granite.logit_scale is missing")


@pytest.mark.parametrize("architecture", ["starcoder2", "gpt2"])
def test_layer_norms_need_their_epsilon_and_biases(architecture: str, edit: Edit) -> None:
    key = "attention.layer_norm_epsilon"
    refused(edit(architecture, {f"{{a}}.{key}": None}), f"{architecture}.{key} is missing")
    for value in (-1.0, float("nan"), 1.0):
        refused(edit(architecture, {f"{{a}}.{key}": value}), f"{architecture}.{key} is {value}")
    for tensor in ("blk.1.attn_norm.bias", "output_norm.bias"):
        refused(edit(architecture, {}, {tensor: None}), f"tensor {tensor} is missing")


def test_learned_positions_are_as_many_as_the_context(edit: Edit) -> None:
    tensor = "position_embd.weight"
    opened(edit("gpt2", {"{a}.context_length": None}))
    refused(edit("gpt2", {"{a}.context_length": 7}), f"gpt2.context_length is 7, but {tensor} says")
    refused(edit("gpt2", {}, {tensor: None}), f"tensor {tensor} is missing")
    wrong = {tensor: np.ones((512, 63), np.float32)}
    refused(edit("gpt2", {}, wrong), f"tensor {tensor} has shape [512, 63]")
