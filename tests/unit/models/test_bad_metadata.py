"""A model's file whose metadata or tensors are wrong is refused in words that name the file."""

from __future__ import annotations

import math
from typing import Any

import gguf
import numpy as np
import pytest

from forge.errors import UnsupportedModel

from .refusal import KIND, Edit, opened, refused

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
