"""Attention over the cache, as a part of a layer."""

from __future__ import annotations

import math
from itertools import accumulate, pairwise

from forge.graph import Op
from forge.models.builder import GraphBuilder
from forge.models.rope import Rotation, rotation
from forge.models.variant import Variant


def attention(b: GraphBuilder, variant: Variant, x: str) -> str:
    """q k v, their norms and rotation, attention over the cache, output projection."""
    hp, layer, p = b.hp, b.layer, f"blk.{b.layer}"
    heads, kv_heads = hp.heads(layer), hp.kv_heads(layer)
    size, value_size = hp.key_size(layer), hp.value_size(layer)
    q, k, v = _projections(b, x, heads * size, kv_heads * size, kv_heads * value_size)
    if variant.qk_norm:
        each = variant.qk_norm == "head"
        q = b.norm("q_norm", variant.norm, q, f"{p}.attn_q_norm", size if each else heads * size)
        k = b.norm("k_norm", variant.norm, k, f"{p}.attn_k_norm", size if each else kv_heads * size)
    turn = variant.rotations[layer] if variant.rotations else rotation(hp, size, context=b.context)
    if turn is not None:
        q = rotate(b, "q_rope", q, heads, turn, variant)
        k = rotate(b, "k_rope", k, kv_heads, turn, variant)
    scale = variant.attention_scale
    sinks = [b.weight(f"{p}.attn_sinks.weight", (heads,))] if variant.sinks else []
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
        *sinks,
        heads=heads,
        kv_heads=kv_heads,
        scale=1 / math.sqrt(size) if scale is None else scale,
        **_limits(variant, layer),
    )
    return b.linear("attn_output", attended, f"{p}.attn_output", (hp.width, heads * value_size))


def _projections(b: GraphBuilder, x: str, *sizes: int) -> list[str]:
    """q, k and v: of a tensor each, or ranges of one."""
    p, width, names = f"blk.{b.layer}", b.hp.width, ("q", "k", "v")
    if not b.has(f"{p}.attn_qkv.weight"):
        return [
            b.linear(name, x, f"{p}.attn_{name}", (size, width))
            for name, size in zip(names, sizes, strict=True)
        ]
    ends = list(accumulate(sizes, initial=0))
    return [
        b.linear(name, x, f"{p}.attn_qkv", (ends[-1], width), rows)
        for name, rows in zip(names, pairwise(ends), strict=True)
    ]


def _limits(variant: Variant, layer: int) -> dict[str, int | float]:
    """Window and cap where there are any: a plain node stays plain."""
    window = variant.windows[layer] if variant.windows else 0
    limits: dict[str, int | float] = {"window": window} if window else {}
    return {**limits, "softcap": variant.attention_cap} if variant.attention_cap else limits


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
