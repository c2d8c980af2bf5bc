"""The family of pre-norm decoders with rotary attention and a gated feed-forward network.

LLaMA (arXiv 2302.13971) and its many relatives; a model's file says where it differs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from forge.errors import UnsupportedModel
from forge.graph import Graph, Op
from forge.models.builder import GraphBuilder
from forge.models.hyperparameters import Hyperparameters
from forge.models.rope import Rotation, rotation


@dataclass(frozen=True, slots=True)
class Variant:
    """Where an architecture differs. Biases need no flag: they are there if the file has them."""

    rope_style: str = "norm"
    head_norm: bool = False
    gated: Op = Op.SILU_MUL


def build(
    variant: Variant, hp: Hyperparameters, *, context: int, slots: int, state_dtype: str
) -> Graph:
    """The whole model: tokens to logits [R, vocabulary]."""
    if hp.integer("expert_count"):
        raise UnsupportedModel(
            f"{hp.file.path}: {hp.architecture} with {hp.integer('expert_count')} experts is not "
            f"one that forge runs yet"
        )
    if hp.flag("attention.causal") is False:
        raise UnsupportedModel(
            f"{hp.file.path}: {hp.architecture} without causal attention is not one that forge "
            f"runs: such models embed text, they do not continue it"
        )
    b = GraphBuilder(hp, context=context, slots=slots, state_dtype=state_dtype)
    epsilon = hp.norm_epsilon()
    x = b.node("embd", Op.EMBED, "tokens", b.weight("token_embd.weight", (hp.vocabulary, hp.width)))
    for layer in range(hp.layers):
        b.layer = layer
        attended = attention(b, variant, x, epsilon)
        if (
            layer == hp.layers - 1
        ):  # nothing after attention mixes tokens: go on with those asked for
            attended = b.node("attn_rows", Op.SELECT_ROWS, attended, "rows")
            x = b.node("rows", Op.SELECT_ROWS, x, "rows")
        x = b.node("attn_residual", Op.ADD, attended, x)
        x = b.node("residual", Op.ADD, feed_forward(b, variant, x, epsilon), x)
    b.layer = hp.layers
    norm = b.weight("output_norm.weight", (hp.width,))
    x = b.node("output_norm", Op.RMS_NORM, x, norm, epsilon=epsilon)
    table = "output" if b.has("output.weight") else "token_embd"
    return b.graph(b.linear("logits", x, table, (hp.vocabulary, hp.width)))


def attention(b: GraphBuilder, variant: Variant, x: str, epsilon: float) -> str:
    """Norm, q k v, rotation, attention over the cache, output projection."""
    hp, layer, p = b.hp, b.layer, f"blk.{b.layer}"
    heads, kv_heads = hp.heads(layer), hp.kv_heads(layer)
    size, value_size = hp.key_size(layer), hp.value_size(layer)
    norm = b.weight(f"{p}.attn_norm.weight", (hp.width,))
    x = b.node("attn_norm", Op.RMS_NORM, x, norm, epsilon=epsilon)
    q = b.linear("q", x, f"{p}.attn_q", (heads * size, hp.width))
    k = b.linear("k", x, f"{p}.attn_k", (kv_heads * size, hp.width))
    v = b.linear("v", x, f"{p}.attn_v", (kv_heads * value_size, hp.width))
    if variant.head_norm:
        q_norm = b.weight(f"{p}.attn_q_norm.weight", (size,))
        k_norm = b.weight(f"{p}.attn_k_norm.weight", (size,))
        q = b.node("q_norm", Op.RMS_NORM, q, q_norm, epsilon=epsilon)
        k = b.node("k_norm", Op.RMS_NORM, k, k_norm, epsilon=epsilon)
    turn = rotation(hp, size)
    q = rotate(b, "q_rope", q, heads, turn, variant)
    k = rotate(b, "k_rope", k, kv_heads, turn, variant)
    attended = b.node(
        "attn",
        Op.ATTENTION,
        q,
        k,
        v,
        b.cache(f"cache_k.{layer}", kv_heads, size),
        b.cache(f"cache_v.{layer}", kv_heads, value_size),
        "positions",
        "slots",
        heads=heads,
        kv_heads=kv_heads,
        scale=1 / math.sqrt(size),
    )
    return b.linear("attn_output", attended, f"{p}.attn_output", (hp.width, heads * value_size))


def rotate(b: GraphBuilder, name: str, x: str, heads: int, turn: Rotation, variant: Variant) -> str:
    """One rope node."""
    return b.node(
        name,
        Op.ROPE,
        x,
        "positions",
        heads=heads,
        style=variant.rope_style,
        frequencies=turn.frequencies,
        magnitude=turn.magnitude,
    )


def feed_forward(b: GraphBuilder, variant: Variant, x: str, epsilon: float) -> str:
    """Norm, gate and up, their gated product, down."""
    hp, p = b.hp, f"blk.{b.layer}"
    size = hp.feed_forward(b.layer)
    norm = b.weight(f"{p}.ffn_norm.weight", (hp.width,))
    x = b.node("ffn_norm", Op.RMS_NORM, x, norm, epsilon=epsilon)
    gate = b.linear("ffn_gate", x, f"{p}.ffn_gate", (size, hp.width))
    up = b.linear("ffn_up", x, f"{p}.ffn_up", (size, hp.width))
    return b.linear(
        "ffn_down", b.node("ffn_act", variant.gated, gate, up), f"{p}.ffn_down", (hp.width, size)
    )
