"""What each architecture's files hold, beyond sizes: which tensors, and metadata of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One architecture; the defaults are llama's."""

    norm_epsilon: float = 1e-6
    pre_norm: bool = True
    post_norm: bool = False
    qk_norm: str = ""
    """Norms of q and k: "head" or "row"."""
    biases: tuple[str, ...] = ()
    """The matrices of a layer that have one, as their tensors are named."""
    experts: int = 0
    """How many a layer has."""
    may_have_experts: bool = False
    """Whether it may have them though it has none by itself."""
    shared_expert: str = ""
    """One more for all tokens: "plain", or "scored"."""
    expert_gain: float = 0.0
    """How loud the experts' gate and up are; 0 is as loud as any."""
    sinks: bool = False
    ffn_norm: str = "ffn_norm"
    tied: bool = False
    long_embedding: bool = False
    """Whether the graph multiplies rows of the embedding by sqrt(width)."""
    layers: int = 2
    rope_base: float = 10000.0
    rope_factors: tuple[str, ...] = ()
    """The kinds of rope scaling that are tensors of frequency factors."""
    fused: bool = False
    """Whether q, k and v are one tensor."""
    gate: str = "own"
    """Where the gate is: a tensor of its "own", "above" up in one, or there is "none"."""
    layer_norm: bool = False
    """Norms take the mean away, and have biases."""
    positions: bool = False
    """Whether positions have embeddings, and nothing is turned."""
    square: bool = False
    """Heads times head size must be the width."""
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keys after "ARCHITECTURE.", at values that show in the logits of a small model."""


_EXPERTS = {"expert_feed_forward_length": 96}
_LINEAR = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_up", "ffn_down")
_GRANITE = {
    "logit_scale": 0.8,
    "embedding_scale": 1.5,
    "residual_scale": 0.7,
    "attention.scale": 0.35,
}
_WINDOW = {"attention.sliding_window": 7, "attention.sliding_window_pattern": 2}

FAMILIES: Mapping[str, Family] = {
    "llama": Family(norm_epsilon=1e-5, may_have_experts=True, rope_factors=("llama3", "longrope")),
    "qwen2": Family(biases=("attn_q", "attn_k", "attn_v"), square=True),
    "qwen3": Family(qk_norm="head"),
    "gemma": Family(tied=True, long_embedding=True),
    "gemma2": Family(
        tied=True,
        long_embedding=True,
        post_norm=True,
        metadata={**_WINDOW, "attn_logit_softcapping": 6.0, "final_logit_softcapping": 8.0},
    ),
    "gemma3": Family(
        tied=True,
        long_embedding=True,
        post_norm=True,
        qk_norm="head",
        rope_base=1e6,
        metadata=_WINDOW,
    ),
    "qwen3moe": Family(qk_norm="head", experts=5, metadata=_EXPERTS),
    "qwen2moe": Family(
        biases=("attn_q", "attn_k", "attn_v"),
        square=True,
        experts=5,
        shared_expert="scored",
        metadata={**_EXPERTS, "expert_shared_feed_forward_length": 160},
    ),
    "phi3": Family(fused=True, gate="above", square=True, rope_factors=("longrope",)),
    "gpt-oss": Family(
        norm_epsilon=1e-5,
        biases=("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate_inp", "experts"),
        sinks=True,
        ffn_norm="post_attention_norm",
        experts=5,
        expert_gain=3.0,
        metadata={**_EXPERTS, **_WINDOW},
    ),
    "olmo2": Family(pre_norm=False, post_norm=True, qk_norm="row", square=True),
    "granite": Family(rope_factors=("llama3", "longrope"), metadata=_GRANITE),
    "granitemoe": Family(
        experts=5,
        shared_expert="plain",
        metadata={**_GRANITE, "expert_shared_feed_forward_length": 160},
    ),
    "smollm3": Family(layers=4),
    "starcoder2": Family(
        norm_epsilon=1e-5, layer_norm=True, biases=_LINEAR, gate="none", square=True
    ),
    "gpt2": Family(
        norm_epsilon=1e-5,
        layer_norm=True,
        biases=("attn_qkv", *_LINEAR),
        gate="none",
        square=True,
        fused=True,
        positions=True,
        tied=True,
    ),
}
