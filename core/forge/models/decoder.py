"""The family of decoders with attention over a cache and a feed-forward network in each layer.

LLaMA (arXiv 2302.13971) and its many relatives; a model's file says where it differs.
"""

from __future__ import annotations

from forge.errors import UnsupportedModel
from forge.graph import Graph, Op
from forge.models.attention import attention
from forge.models.builder import GraphBuilder
from forge.models.feed_forward import feed_forward
from forge.models.hyperparameters import Hyperparameters
from forge.models.variant import Variant


def build(
    variant: Variant, hp: Hyperparameters, *, context: int, slots: int, state_dtype: str
) -> Graph:
    """The whole model: tokens to logits [R, vocabulary]."""
    if hp.integer("expert_count") and variant.experts is None:
        raise UnsupportedModel(
            f"{hp.file.path}: {hp.architecture} with {hp.integer('expert_count')} experts is not "
            f"one that forge runs"
        )
    if hp.flag("attention.causal") is False:
        raise UnsupportedModel(
            f"{hp.file.path}: {hp.architecture} without causal attention is not one that forge "
            f"runs: such models embed text, they do not continue it"
        )
    b = GraphBuilder(hp, context=context, slots=slots, state_dtype=state_dtype)
    x = b.node("embd", Op.EMBED, "tokens", b.weight("token_embd.weight", (hp.vocabulary, hp.width)))
    x = b.scaled("embd_scaled", x, variant.embedding_scale)
    if variant.positions:
        table = b.weight("position_embd.weight", (hp.context or b.context, hp.width))
        x = b.node("embd_placed", Op.ADD, x, b.node("places", Op.EMBED, "positions", table))
    for layer in range(hp.layers):
        b.layer = layer
        x = _layer(b, variant, x)
    b.layer = hp.layers
    x = b.norm("output_norm", variant.norm, x, "output_norm", hp.width)
    table = "output" if b.has("output.weight") else "token_embd"
    x = b.linear("logits", x, table, (hp.vocabulary, hp.width))
    x = b.scaled("logits_scaled", x, variant.logit_scale)
    return b.graph(b.capped("logits_capped", x, variant.logit_cap))


def _layer(b: GraphBuilder, variant: Variant, x: str) -> str:
    """Attention and feed-forward, each with its norms around and a residual beside it."""
    p, width = f"blk.{b.layer}", b.hp.width
    y = b.norm("attn_norm", variant.norm, x, f"{p}.attn_norm", width) if variant.pre_norm else x
    y = attention(b, variant, y)
    if variant.post_norm:
        y = b.norm("attn_post_norm", variant.norm, y, f"{p}.post_attention_norm", width)
    y = b.scaled("attn_scaled", y, variant.residual_scale)
    x = b.node("attn_residual", Op.ADD, y, x)
    if b.layer == b.hp.layers - 1:
        # nothing after attention mixes tokens: go on with those asked for
        x = b.node("rows", Op.SELECT_ROWS, x, "rows")
    norm = f"{p}.{variant.ffn_norm}"
    y = b.norm("ffn_norm", variant.norm, x, norm, width) if variant.pre_norm else x
    y = feed_forward(b, variant, y)
    if variant.post_norm:
        y = b.norm("ffn_post_norm", variant.norm, y, f"{p}.post_ffw_norm", width)
    y = b.scaled("ffn_scaled", y, variant.residual_scale)
    return b.node("residual", Op.ADD, y, x)
