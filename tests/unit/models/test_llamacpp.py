"""The reference against llama.cpp itself on a float32 copy of the same file, where it is at hand.

With FORGE_RECORD=1 the truth that the other tests use is recorded anew.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forge.graph import Op
from forge.testing import write_tiny

Array = np.ndarray[Any, Any]

PATTERN = "sliding_window_pattern"
LONGROPE = {"type": "longrope", "factor": 6.0, "original_context": 16}

# What is recorded: small vocabularies keep the fixture small.
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {"seed": 1}),
    "llama-tied-mqa": (
        "llama",
        {"seed": 2, "width": 80, "heads": 5, "kv_heads": 1, "head_size": 24, "tied": True},
    ),
    "llama-llama3": (
        "llama",
        {"seed": 3, "rope_scaling": {"type": "llama3", "factor": 8.0, "original_context": 16}},
    ),
    "llama-linear": ("llama", {"seed": 4, "rope_scaling": {"type": "linear", "factor": 3.0}}),
    "llama-q8_0-mha": ("llama", {"seed": 5, "heads": 2, "kv_heads": 2, "quant": "q8_0"}),
    "qwen2": ("qwen2", {"seed": 6, "rope_base": 1e6}),
    "qwen2-yarn": (
        "qwen2",
        {
            "seed": 7,
            "tied": True,
            "rope_scaling": {"type": "yarn", "factor": 4.0, "original_context": 16},
        },
    ),
    "qwen3": ("qwen3", {"seed": 8, "head_size": 32, "layers": 3}),
    "qwen3-q4_0-split": ("qwen3", {"seed": 9, "quant": "q4_0", "output_quant": "q8_0", "split": 3}),
    "qwen3-yarn-shrunk": (
        "qwen3",
        {
            "seed": 11,
            "rope_scaling": {"type": "yarn", "factor": 0.5, "original_context": 32},
        },
    ),
    "qwen3-yarn-f16": (
        "qwen3",
        {
            "seed": 10,
            "quant": "f16",
            "rope_scaling": {"type": "yarn", "factor": 8.0, "original_context": 32},
        },
    ),
    "gemma": ("gemma", {"seed": 16, "head_size": 24}),
    "gemma2": ("gemma2", {"seed": 13}),
    "gemma3": ("gemma3", {"seed": 14, "layers": 3, "head_size": 24}),
    "gemma3-linear-q4_0": (
        "gemma3",
        {"seed": 15, "quant": "q4_0", "rope_scaling": {"type": "linear", "factor": 8.0}},
    ),
    "qwen3moe": ("qwen3moe", {"seed": 17}),
    "qwen2moe": ("qwen2moe", {"seed": 18}),
    "mixtral": ("llama", {"seed": 19, "experts": 4}),
    "phi3": ("phi3", {"seed": 20}),
    "gpt-oss": ("gpt-oss", {"seed": 22}),
    "gpt-oss-yarn-mxfp4": (
        "gpt-oss",
        {
            "seed": 23,
            "quant": "mxfp4",
            "rope_base": 150000.0,
            "rope_scaling": {"type": "yarn", "factor": 32.0, "original_context": 16},
        },
    ),
    "olmo2": ("olmo2", {"seed": 24}),
    "olmo3": (
        "olmo2",
        {
            "seed": 25,
            "layers": 3,
            "metadata": {"attention.sliding_window": 7, f"attention.{PATTERN}": 2},
            "rope_scaling": {"type": "yarn", "factor": 8.0, "original_context": 16},
        },
    ),
    "granite": ("granite", {"seed": 26}),
    "granitemoe": ("granitemoe", {"seed": 27}),
    "smollm3": ("smollm3", {"seed": 28}),
    "starcoder2": ("starcoder2", {"seed": 39}),
    "gpt2": ("gpt2", {"seed": 33}),
    "phi3-long": ("phi3", {"seed": 21, "rope_scaling": LONGROPE}),
}
YARN = {"type": "yarn", "factor": 4.0, "original_context": 64}
MORE: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"heads": 8, "kv_heads": 2, "width": 128, "layers": 3, "tied": True}),
    ("llama", {"heads": 2, "head_size": 128}),
    ("llama", {"rope_scaling": YARN}),
    ("llama", {"rope_scaling": {**YARN, "factor": 0.5}}),
    ("llama", {"quant": "q5_1", "embedding_quant": "f16", "output_quant": "bf16"}),
    ("llama", {"quant": "tq2_0", "width": 256}),
    ("qwen2", {"heads": 3, "kv_heads": 3, "width": 48}),
    ("qwen2", {"quant": "q4_1", "tied": True}),
    ("qwen2", {"quant": "tq1_0", "width": 256}),
    ("qwen3", {"heads": 5, "kv_heads": 1, "width": 160, "head_size": 24}),
    ("qwen3", {"quant": "q5_0", "rope_scaling": {"type": "linear", "factor": 4.0}}),
    ("qwen3", {"tokenizer": "bytes", "vocabulary": 512, "tied": True, "quant": "q8_0"}),
    ("gemma", {"heads": 4, "kv_heads": 1}),
    ("gemma2", {"layers": 3, "metadata": {"attention.sliding_window": 5}}),
    ("gemma2", {"rope_scaling": YARN, "metadata": {"rope.freq_base_swa": 500.0}}),
    ("gemma3", {"rope_scaling": YARN}),
    ("gemma3", {"metadata": {"attention.sliding_window": 0}}),
    ("gemma3", {"layers": 3, "metadata": {f"attention.{PATTERN}": [True, False, False]}}),
    ("gemma3", {"layers": 7, "metadata": {f"attention.{PATTERN}": 6}}),
    (
        "gemma3",
        {"metadata": {"rope.freq_base_swa": 500.0, "final_logit_softcapping": 6.0}, "quant": "f16"},
    ),
    ("qwen3moe", {"metadata": {"expert_used_count": 1, "expert_weights_scale": 2.0}}),
    ("qwen3moe", {"metadata": {"expert_used_count": 5}, "quant": "q8_0", "tied": True}),
    ("qwen3moe", {"quant": "mxfp4", "head_size": 24, "layers": 3}),
    ("qwen2moe", {"metadata": {"expert_used_count": 4}, "quant": "q5_0"}),
    ("gpt-oss", {"head_size": 32, "metadata": {"rope.freq_base_swa": 500.0}}),
    ("gpt-oss", {"layers": 3, "metadata": {"expert_used_count": 4}}),
    ("olmo2", {"kv_heads": 4, "quant": "q8_0"}),
    ("olmo2", {"layers": 4, "metadata": {"attention.sliding_window": 7}, "rope_scaling": YARN}),
    (
        "olmo2",
        {
            "metadata": {
                "attention.sliding_window": 7,
                f"attention.{PATTERN}": [False, True],
                "rope.freq_base_swa": 500.0,
                "rope.scaling.attn_factor": 1.3,
            },
            "rope_scaling": {"type": "linear", "factor": 8.0},
        },
    ),
    ("gemma3", {"metadata": {"rope.scaling.attn_factor": 1.3}, "rope_scaling": YARN}),
    ("granite", {"metadata": {"rope.scaling.finetuned": False, "attention.scale": 0.0}}),
    ("granite", {"metadata": {"residual_scale": 0.0, "embedding_scale": 0.0}, "quant": "q4_1"}),
    ("granite", {"rope_scaling": {**LONGROPE, "type": "llama3"}, "tied": True}),
    ("granitemoe", {"metadata": {"expert_shared_feed_forward_length": 0}}),
    ("granitemoe", {"metadata": {"rope.scaling.finetuned": False}}),
    ("smollm3", {"layers": 8, "tied": True, "rope_base": 5e6, "quant": "q8_0"}),
    ("starcoder2", {"heads": 8, "kv_heads": 2, "tied": True}),
    ("starcoder2", {"quant": "q4_0", "rope_scaling": YARN}),
    ("gpt2", {"heads": 8, "kv_heads": 8, "tied": False}),
    ("gpt2", {"quant": "q8_0", "context": 300}),
    ("phi3", {"rope_scaling": {**LONGROPE, "original_context": 4096}}),
    ("phi3", {"metadata": {"attention.sliding_window": 5}, "kv_heads": 4, "tied": True}),
    ("phi3", {"metadata": {"rope.dimension_count": 12}, "quant": "q4_0"}),
    ("llama", {"rope_scaling": LONGROPE, "quant": "bf16"}),
    ("llama", {"experts": 8, "metadata": {"expert_used_count": 3}, "quant": "q8_0"}),
]


BOUND = 1e-8
"""Mean KL: two float32 programs on one model; 1e-5 is what is promised."""
TABLE_BOUND = 3e-7
"""With gelu: what differs in the last bit may fall on two sides of ggml's half precision table."""


def bound(executable: Any) -> float:
    table = any(node.op is Op.GELU_MUL for node in executable.graph.nodes)
    return TABLE_BOUND if table else BOUND


def asked(peer: Any, path: Path, tokens: list[int], folder: Path, quant: str) -> Array:
    exact = path if quant == "f32" else peer.float32(path, folder / "float32.gguf")
    return np.asarray(peer.logits(exact, tokens, folder))


def drawn(seed: int, vocabulary: int, count: int) -> list[int]:
    return np.random.default_rng(seed).integers(0, vocabulary, count).tolist()


@pytest.mark.parametrize(
    ("architecture", "options"), MORE, ids=lambda v: v if isinstance(v, str) else "-".join(v)
)
def test_the_reference_equals_llama_cpp(
    architecture: str,
    options: dict[str, Any],
    peer: Any,
    tmp_path: Path,
    load: Callable[..., Any],
    evaluate: Callable[..., Array],
    kl: Callable[[Array, Array], Array],
) -> None:
    path = write_tiny(tmp_path / "m.gguf", architecture, **options)
    tokens = drawn(0, 250, 200)
    truth = asked(peer, path, tokens, tmp_path, options.get("quant", "f32"))
    executable = load(path, like_ggml=True)
    logits = evaluate(executable, tokens)
    assert truth.std() >= 2
    assert kl(truth, logits).mean() <= bound(executable)
    assert (truth.argmax(axis=1) == logits.argmax(axis=1)).mean() >= 0.995


def test_the_largest_gemma_2_measures_its_heads_by_the_width_they_share(
    peer: Any,
    tmp_path: Path,
    load: Callable[..., Any],
    evaluate: Callable[..., Array],
    kl: Callable[[Array, Array], Array],
) -> None:
    shape = {"layers": 46, "width": 32, "heads": 2, "head_size": 24, "ffn": 32}
    path, tokens = write_tiny(tmp_path / "m.gguf", "gemma2", **shape), drawn(0, 250, 64)
    logits = evaluate(load(path, like_ggml=True), tokens)
    assert kl(peer.logits(path, tokens, tmp_path), logits).mean() <= 1e-5  # many layers round


@pytest.mark.parametrize(
    "metadata",
    [
        {"{a}.rope.scale_linear": 4.0},
        {"{a}.rope.scaling.factor": 4.0, "{a}.rope.scale_linear": 2.0},
        {"{a}.rope.scaling.type": "none", "{a}.rope.scaling.factor": 4.0},
        {"{a}.rope.scaling.factor": 0.0},
        {"{a}.rope.scaling.attn_factor": 1.3},
        {"{a}.rope.scaling.type": "yarn"},
        {"{a}.rope.freq_base": None},
        {"{a}.attention.scale": 0.5},
        {"{a}.rope.scaling.type": "yarn", "{a}.rope.scaling.factor": 2.0}
        | {"{a}.rope.scaling.yarn_beta_fast": 8.0, "{a}.rope.scaling.attn_factor": 1.2},
    ],
    ids=lambda m: " ".join(key[4:] for key in m),
)
def test_rare_metadata_means_what_it_means_to_llama_cpp(
    metadata: dict[str, Any],
    edit: Callable[..., Path],
    peer: Any,
    tmp_path: Path,
    load: Callable[..., Any],
    evaluate: Callable[..., Array],
    kl: Callable[[Array, Array], Array],
) -> None:
    path, tokens = edit("llama", metadata), drawn(1, 250, 64)
    truth = peer.logits(path, tokens, tmp_path)
    assert kl(truth, evaluate(load(path, like_ggml=True), tokens)).mean() <= BOUND


@pytest.mark.parametrize("name", MODELS)
def test_the_recorded_truth_is_what_llama_cpp_says(
    name: str,
    peer: Any,
    record: Callable[..., None] | None,
    truths: Callable[[str], Any],
    model_digest: Callable[[Path], str],
    kl: Callable[[Array, Array], Array],
    tmp_path: Path,
) -> None:
    architecture, shape = MODELS[name]
    options = {"vocabulary": 40, "context": 64, **shape}
    path = write_tiny(tmp_path / "m.gguf", architecture, **options)
    whole = write_tiny(tmp_path / "whole.gguf", architecture, **{**options, "split": None})
    tokens = drawn(shape["seed"], 40, 40)
    exact = asked(peer, whole, tokens, tmp_path, options.get("quant", "f32"))
    if record:
        digest = model_digest(path)
        known = {"architecture": architecture, "options": options}
        record(name, {**known, "tensors": digest, "tokens": tokens}, exact)
        pytest.skip("recorded anew")
    assert truths(name).tokens == tokens
    assert kl(exact, truths(name).logits).max() <= BOUND


def test_every_recorded_truth_can_be_asked_for_again(truths: Callable[[str], Any]) -> None:
    for name, (architecture, _) in MODELS.items():
        assert truths(name).architecture == architecture
