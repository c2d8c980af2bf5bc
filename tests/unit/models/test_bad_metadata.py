"""A model's file whose metadata or tensors are wrong is refused in words that name the file."""

from __future__ import annotations

import math
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from forge.backend import BackendConfig
from forge.errors import ForgeError, ModelError, UnsupportedModel
from forge.gguf import open_gguf
from forge.models import build_graph
from forge.weights import Weights
from forge_cpu.backend import CpuBackend

Edit = Callable[..., Path]
KIND = gguf.GGUFValueType


def opened(path: Path) -> None:
    with open_gguf(path) as file:
        graph = build_graph(file)
        CpuBackend(BackendConfig(threads=1)).compile(graph, Weights(graph, file), lambda *_: None)


def refused(path: Path, *words: str, kind: type[ForgeError] = ModelError) -> None:
    started = time.monotonic()
    tracemalloc.start()
    with pytest.raises(kind) as caught:
        opened(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    message = str(caught.value)
    assert 1 <= len(message.splitlines()) <= 3
    assert len(message) < 500 + len(str(path))
    for word in (str(path), *words):
        assert word in message
    # Generous: it shows that nothing counts up to a number in the file.
    assert time.monotonic() - started < 5
    assert most < 64 << 20


ARCHITECTURES = ["llama", "qwen2", "qwen3", "gemma3"]
COUNTS = [
    "block_count",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "context_length",
    "rope.dimension_count",
]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("key", COUNTS)
@pytest.mark.parametrize("value", [0, (-4, KIND.INT32), (2**31, KIND.UINT32), (2**63, KIND.UINT64)])
def test_a_count_of_nothing_or_of_too_much_is_refused(
    value: Any, key: str, architecture: str, edit: Edit
) -> None:
    number = value[0] if isinstance(value, tuple) else value
    path = edit(architecture, {f"{{a}}.{key}": value})
    refused(path, f"{architecture}.{key} is {number}")


@pytest.mark.parametrize("value", [2**31 - 1, (1 << 24)])
def test_more_layers_than_the_file_has_are_not_counted_to(value: int, edit: Edit) -> None:
    refused(edit("llama", {"{a}.block_count": value}), f"llama.block_count is {value}, but")


def test_layers_without_a_single_tensor_are_not_counted_to(edit: Edit) -> None:
    none = {
        f"blk.{i}.{name}.weight": None
        for i in (0, 1)
        for name in (
            "attn_norm attn_q attn_k attn_v attn_output ffn_norm ffn_gate ffn_up ffn_down".split()
        )
    }
    path = edit("llama", {"{a}.block_count": 2**31 - 1}, none)
    refused(path, "tensor blk.0.")
    refused(edit("llama", {"{a}.block_count": None}, none), "llama.block_count is missing")


def test_a_gap_in_the_layers_is_named(edit: Edit) -> None:
    far = {"blk.999999.attn_norm.weight": np.ones(64, np.float32)}
    refused(edit("llama", {"{a}.block_count": None}, far), "tensor blk.2.")


@pytest.mark.parametrize("key", [*COUNTS, "attention.layer_norm_rms_epsilon", "rope.freq_base"])
@pytest.mark.parametrize("value", ["64", True, [64, 64, 64], ["64"]])
def test_a_value_of_another_type_is_refused(value: Any, key: str, edit: Edit) -> None:
    refused(edit("llama", {f"{{a}}.{key}": value}), f"llama.{key}")


@pytest.mark.parametrize("key", COUNTS)
def test_a_count_that_is_no_integer_is_refused(key: str, edit: Edit) -> None:
    refused(edit("llama", {f"{{a}}.{key}": 64.0}), f"llama.{key}", "expected an int")


@pytest.mark.parametrize("value", [math.nan, math.inf, -1e-5, 1.0])
def test_an_epsilon_without_sense_is_refused(value: float, edit: Edit) -> None:
    key = "attention.layer_norm_rms_epsilon"
    refused(edit("llama", {f"{{a}}.{key}": value}), f"llama.{key} is")


@pytest.mark.parametrize("value", [7, 18, 1])
def test_rope_dimensions_must_be_even_and_within_the_head(value: int, edit: Edit) -> None:
    path = edit("llama", {"{a}.rope.dimension_count": value})
    refused(path, f"rope.dimension_count is {value}", "16")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -1.0, 0.0, 1.0])
def test_a_rope_base_without_sense_is_refused(value: float, edit: Edit) -> None:
    refused(edit("qwen2", {"{a}.rope.freq_base": value}), "qwen2.rope.freq_base is")


@pytest.mark.parametrize("kind", ["linear", "yarn", "none"])
@pytest.mark.parametrize("key", ["rope.scaling.factor", "rope.scaling.attn_factor"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -2.0, (1e-320, KIND.FLOAT64)])
def test_a_rope_scaling_without_sense_is_refused(
    value: Any, key: str, kind: str, edit: Edit
) -> None:
    path = edit("llama", {"{a}.rope.scaling.type": kind, f"{{a}}.{key}": value})
    refused(path, f"llama.{key} is")


@pytest.mark.parametrize("value", [0, (-32, KIND.INT32), (2**40, KIND.UINT64)])
def test_yarn_needs_an_original_context_that_is_one(value: Any, edit: Edit) -> None:
    key = "rope.scaling.original_context_length"
    path = edit("llama", {"{a}.rope.scaling.type": "yarn", f"{{a}}.{key}": value})
    refused(path, f"llama.{key} is")


@pytest.mark.parametrize("value", ["su", "x" * 100_000, "a\nb"])
def test_an_unknown_rope_scaling_is_refused_in_few_words(value: str, edit: Edit) -> None:
    path = edit("llama", {"{a}.rope.scaling.type": value})
    refused(path, "rope.scaling.type", "none, linear, yarn, longrope", kind=UnsupportedModel)


@pytest.mark.parametrize("value", ["mamba", "Llama", "x" * 100_000, "../llama", "a\nb\nc\nd"])
def test_an_unknown_architecture_is_refused_in_few_words(value: str, edit: Edit) -> None:
    path = edit("llama", {"general.architecture": value})
    refused(path, "is not one that forge knows: llama, qwen2, qwen3", kind=UnsupportedModel)


def test_a_missing_architecture_is_said_to_be_missing(edit: Edit) -> None:
    path = edit("llama", {"general.architecture": ""})  # the writer leaves out what is empty
    refused(path, "general.architecture is missing")


def test_experts_and_attention_both_ways_are_refused(edit: Edit) -> None:
    path = edit("qwen3", {"{a}.expert_count": 8, "{a}.expert_used_count": 2})
    refused(path, "8 experts", kind=UnsupportedModel)
    path = edit("llama", {"{a}.attention.causal": False})
    refused(path, "without causal attention", kind=UnsupportedModel)


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


TENSORS = [
    "token_embd.weight", "output.weight", "output_norm.weight", "blk.1.attn_norm.weight",
    "blk.0.attn_q.weight", "blk.1.attn_k.weight", "blk.0.attn_v.weight", "blk.1.ffn_up.weight",
    "blk.0.attn_output.weight", "blk.1.ffn_norm.weight", "blk.0.ffn_gate.weight",
    "blk.1.ffn_down.weight", "blk.0.attn_q_norm.weight", "blk.1.attn_k_norm.weight",
]  # fmt: skip


@pytest.mark.parametrize("name", TENSORS)
def test_a_missing_tensor_is_named(name: str, edit: Edit) -> None:
    if name == "output.weight":  # the embedding serves
        opened(edit("qwen3", {}, {name: None}))
    else:
        refused(edit("qwen3", {}, {name: None}), f"tensor {name} is missing")


@pytest.mark.parametrize("name", TENSORS)
@pytest.mark.parametrize("shape", [(3,), (64, 3), (3, 64), (1, 64, 64), (64, 64, 1, 1)])
def test_a_tensor_of_another_shape_is_named(shape: tuple[int, ...], name: str, edit: Edit) -> None:
    path = edit("qwen3", {}, {name: np.ones(shape, np.float32)})
    refused(path, name)


@pytest.mark.parametrize("name", ["blk.1.attn_q.bias", "blk.0.attn_v.bias"])
def test_a_bias_of_another_length_is_named(name: str, edit: Edit) -> None:
    refused(edit("qwen2", {}, {name: np.ones(7, np.float32)}), f"tensor {name} has shape [7]")


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.int64, np.float64])
@pytest.mark.parametrize("name", ["token_embd.weight", "blk.0.attn_norm.weight"])
def test_numbers_that_are_no_weights_are_refused(name: str, dtype: Any, edit: Edit) -> None:
    shape = (256, 64) if name.startswith("token") else (64,)
    path = edit("llama", {}, {name: np.ones(shape, dtype)})
    refused(path, f"tensor {name} is of type", kind=UnsupportedModel)


@pytest.mark.parametrize("kind", ["Q8_1", "Q8_K"])
def test_types_that_live_between_ops_are_refused(kind: str, edit: Edit) -> None:
    quant = gguf.GGMLQuantizationType[kind]
    block, size = gguf.GGML_QUANT_SIZES[quant]
    rows = np.zeros((256, 256 // block * size), np.uint8)
    path = edit("llama", {}, {"token_embd.weight": (rows, quant)}, width=256)
    refused(path, f"tensor token_embd.weight is of type {kind}", kind=UnsupportedModel)


@pytest.mark.parametrize(
    "tensor", ["blk.0.attn_norm.bias", "blk.1.attn_sub_norm.weight", "extra", "v.patch_embd.weight"]
)
def test_a_tensor_without_a_place_is_named(tensor: str, edit: Edit) -> None:
    path = edit("llama", {}, {tensor: np.ones(64, np.float32)})
    refused(path, f"tensor {tensor} has no place in llama", kind=UnsupportedModel)


def test_rotary_tables_that_nobody_reads_are_left_aside(edit: Edit) -> None:
    opened(edit("llama", {}, {"blk.0.attn_rot_embd.weight": np.ones(8, np.float32)}))


@pytest.mark.parametrize(
    "factors",
    [
        np.ones(7, np.float32),
        np.ones((8, 1), np.float32),
        np.zeros(8, np.float32),
        np.full(8, np.nan, np.float32),
        np.full(8, np.inf, np.float32),
        np.full(8, -1, np.float32),
        np.ones(8, np.int32),
    ],
)
def test_rope_factors_must_be_positive_and_one_a_pair(factors: Any, edit: Edit) -> None:
    refused(edit("llama", {}, {"rope_freqs.weight": factors}), "rope_freqs.weight")


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
