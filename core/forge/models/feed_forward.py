"""The feed-forward network of a layer."""

from __future__ import annotations

from forge.models.builder import GraphBuilder
from forge.models.experts import mixture
from forge.models.variant import Variant


def feed_forward(b: GraphBuilder, variant: Variant, x: str) -> str:
    """Up, a gate where there is one, down; or a mixture of experts."""
    if variant.experts is not None:
        return mixture(b, variant.experts, x)
    hp, p = b.hp, f"blk.{b.layer}"
    size = hp.feed_forward(b.layer)
    if variant.gate == "above":
        both = (2 * size, hp.width)
        gate = b.linear("ffn_gate", x, f"{p}.ffn_up", both, (0, size))
        up = b.linear("ffn_up", x, f"{p}.ffn_up", both, (size, 2 * size))
        inputs = [gate, up]
    else:
        names = ("ffn_up",) if variant.gate == "none" else ("ffn_gate", "ffn_up")
        inputs = [b.linear(name, x, f"{p}.{name}", (size, hp.width)) for name in names]
    hidden = b.node("ffn_act", variant.gated, *inputs)
    return b.linear("ffn_down", hidden, f"{p}.ffn_down", (hp.width, size))
