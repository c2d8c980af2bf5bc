"""The feed-forward network of a layer."""

from __future__ import annotations

from forge.models.builder import GraphBuilder
from forge.models.experts import mixture
from forge.models.variant import Variant


def feed_forward(b: GraphBuilder, variant: Variant, x: str) -> str:
    """Gate and up, their gated product, down; or a mixture of such experts."""
    if variant.experts is not None:
        return mixture(b, variant.experts, x)
    hp, p = b.hp, f"blk.{b.layer}"
    size = hp.feed_forward(b.layer)
    if variant.gate == "above":
        both = (2 * size, hp.width)
        gate = b.linear("ffn_gate", x, f"{p}.ffn_up", both, (0, size))
        up = b.linear("ffn_up", x, f"{p}.ffn_up", both, (size, 2 * size))
    else:
        gate = b.linear("ffn_gate", x, f"{p}.ffn_gate", (size, hp.width))
        up = b.linear("ffn_up", x, f"{p}.ffn_up", (size, hp.width))
    hidden = b.node("ffn_act", variant.gated, gate, up)
    return b.linear("ffn_down", hidden, f"{p}.ffn_down", (hp.width, size))
