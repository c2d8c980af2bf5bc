"""What a file leaves out is read off its tensors; what contradicts them is an error."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest

from forge.errors import ContextOverflow, ModelError, UsageError
from forge.gguf import open_gguf
from forge.graph import Graph, Op
from forge.models import build_graph

Edit = Callable[..., Path]
SHAPE = {"heads": 6, "kv_heads": 2, "width": 96, "layers": 3}


def graph_of(path: Path, **options: Any) -> Graph:
    with open_gguf(path) as file:
        return build_graph(file, **options)


ARCHITECTURES = ["llama", "qwen2", "qwen3", "gemma3"]
INFERABLE = [
    "block_count",
    "embedding_length",
    "feed_forward_length",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
    "rope.dimension_count",
    "vocab_size",
]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("key", INFERABLE)
def test_a_key_that_the_tensors_tell_may_be_missing(
    key: str, architecture: str, edit: Edit
) -> None:
    size = {} if architecture == "qwen2" else {"head_size": 24}
    whole = graph_of(edit(architecture, {}, **SHAPE, **size))
    assert graph_of(edit(architecture, {f"{{a}}.{key}": None}, **SHAPE, **size)) == whole


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_all_of_them_may_be_missing_at_once(architecture: str, edit: Edit) -> None:
    whole = graph_of(edit(architecture, {}, **SHAPE))
    none = {f"{{a}}.{key}": None for key in INFERABLE}
    assert graph_of(edit(architecture, none, **SHAPE)) == whole


def test_the_number_of_heads_follows_from_a_stated_head_size(edit: Edit) -> None:
    shape = {**SHAPE, "head_size": 24}
    whole = graph_of(edit("llama", {}, **shape))
    without = {"{a}.attention.head_count": None, "{a}.attention.head_count_kv": None}
    assert graph_of(edit("llama", without, **shape)) == whole


def test_the_number_of_heads_follows_from_the_head_norms(edit: Edit) -> None:
    whole = graph_of(edit("qwen3", {}, **SHAPE))
    without = {"{a}.attention.head_count": None, "{a}.attention.head_count_kv": None}
    assert graph_of(edit("qwen3", without, **SHAPE)) == whole


def test_missing_rope_base_is_ten_thousand_as_in_llama_cpp(edit: Edit) -> None:
    assert graph_of(edit("llama", {"{a}.rope.freq_base": None})) == graph_of(
        edit("llama", {}, rope_base=10000.0)
    )


@pytest.mark.parametrize(
    ("architecture", "key"),
    [
        ("llama", "attention.head_count"),
        ("qwen2", "attention.head_count"),
        ("llama", "attention.layer_norm_rms_epsilon"),
        ("qwen3", "attention.layer_norm_rms_epsilon"),
        ("llama", "context_length"),
    ],
)
def test_what_no_tensor_tells_is_an_error_that_names_file_and_key(
    architecture: str, key: str, edit: Edit
) -> None:
    path = edit(architecture, {f"{{a}}.{key}": None})
    with pytest.raises(ModelError) as caught:
        graph_of(path)
    assert str(path) in str(caught.value)
    assert f"{architecture}.{key} is missing and cannot be inferred" in str(caught.value)


def test_a_missing_context_length_can_be_given(edit: Edit) -> None:
    path = edit("llama", {"{a}.context_length": None})
    graph = graph_of(path, context=33)
    assert {state.capacity for state in graph.state.values()} == {33}


def test_a_context_beyond_the_models_or_below_one_is_refused_with_both_numbers(edit: Edit) -> None:
    path = edit("llama", context=300)
    with pytest.raises(ContextOverflow, match=r"301 tokens.* 300"):
        graph_of(path, context=301)
    with pytest.raises(UsageError, match="context of 0 tokens"):
        graph_of(path, context=0)


def test_the_default_context_is_the_smaller_of_the_models_and_8192(edit: Edit) -> None:
    for context, expected in ((300, 300), (8192, 8192), (131072, 8192)):
        graph = graph_of(edit("llama", context=context))
        assert {state.capacity for state in graph.state.values()} == {expected}


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("block_count", 2, "llama.block_count is 2, but blk.2.* says 3"),
        ("block_count", 4, "llama.block_count is 4, but blk.2.* says 3"),
        ("embedding_length", 128, "llama.embedding_length is 128, but token_embd.weight says 96"),
        ("vocab_size", 255, "llama.vocab_size is 255, but token_embd.weight says 256"),
        (
            "feed_forward_length",
            96,
            "feed_forward_length is 96, but blk.0.ffn_down.weight says 288",
        ),
        ("attention.head_count", 5, "head_count is 5, which does not divide the 96 rows of"),
        ("attention.head_count", 2**31 - 1, "head_count is 2147483647, which does not divide"),
        ("attention.head_count_kv", 3, "head_count_kv is 3, but blk.0.attn_k.weight says 2"),
        ("attention.key_length", 32, "llama.attention.head_count is 6, but"),
        ("attention.key_length", 7, "tensor blk.0.attn_q.weight has shape [96, 96]"),
        ("attention.value_length", 8, "value_length is 8, but blk.0.attn_v.weight says 16"),
    ],
)
def test_a_key_that_contradicts_the_tensors_is_an_error_that_names_both(
    key: str, value: int, words: str, edit: Edit
) -> None:
    path = edit("llama", {f"{{a}}.{key}": value}, **SHAPE)
    with pytest.raises(ModelError, match=re.escape(words)) as caught:
        graph_of(path)
    assert str(path) in str(caught.value)


def test_heads_that_do_not_share_evenly_are_refused(edit: Edit) -> None:
    # 4 heads of 16 over 3 kv heads: every shape agrees with the metadata.
    tensors = {
        f"blk.{i}.attn_{n}.weight": np.ones((48, 64), np.float32) for i in (0, 1) for n in "kv"
    }
    path = edit("llama", {"{a}.attention.head_count_kv": 3}, tensors)
    with pytest.raises(ModelError, match="head_count_kv is 3, which does not divide the 4 heads"):
        graph_of(path)


def test_layers_may_differ_where_the_metadata_is_an_array(edit: Edit) -> None:
    tensors: dict[str, Any] = {
        f"blk.1.attn_{n}.weight": np.ones((64, 64), np.float32) for n in "kv"
    }
    tensors |= {f"blk.1.ffn_{n}.weight": np.ones((96, 64), np.float32) for n in ("gate", "up")}
    tensors |= {"blk.1.ffn_down.weight": np.ones((64, 96), np.float32)}
    arrays = {"{a}.attention.head_count_kv": [2, 4], "{a}.feed_forward_length": [192, 96]}
    for metadata in (arrays, dict.fromkeys(arrays)):
        graph = graph_of(edit("llama", metadata, tensors))
        attention = [node.attrs for node in graph.nodes if node.op is Op.ATTENTION]
        assert [attrs["kv_heads"] for attrs in attention] == [2, 4]
        assert graph.weights["blk.0.ffn_up.weight"].shape == (192, 64)
        assert graph.weights["blk.1.ffn_up.weight"].shape == (96, 64)


@pytest.mark.parametrize(
    "value",
    [
        [2],
        [2, 2, 2],
        ([2.0, 2.0], gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.FLOAT32),
        ["2", "2"],
        [True, True],
    ],
)
def test_an_array_of_a_wrong_length_or_type_is_refused(value: Any, edit: Edit) -> None:
    path = edit("llama", {"{a}.attention.head_count_kv": value})
    with pytest.raises(ModelError, match=r"llama\.attention\.head_count_kv") as caught:
        graph_of(path)
    assert str(path) in str(caught.value)
