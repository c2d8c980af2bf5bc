"""A mixture of experts in the place of a layer's feed-forward network."""

from __future__ import annotations

from forge.errors import ModelError
from forge.graph import Attr, Op
from forge.models.builder import GraphBuilder
from forge.models.hyperparameters import Hyperparameters
from forge.models.variant import Experts

_PARTS = ("gate", "up", "down")


def mixture(b: GraphBuilder, kind: Experts, x: str) -> str:
    """Scores, the best experts by them, and an expert for all tokens where there is one."""
    hp, p = b.hp, f"blk.{b.layer}"
    count, used = _count(hp, b.layer), _used(hp, b.layer)
    tensor = f"{p}.ffn_up_exps.weight"
    stated = hp.per_layer(kind.size_key, b.layer)
    size = hp.agreed(kind.size_key, stated, hp.dimension(tensor, 1, 3), tensor)
    scores = b.linear("ffn_scores", x, f"{p}.ffn_gate_inp", (count, hp.width))
    inner, outer = (count, size, hp.width), (count, hp.width, size)
    weights = [
        b.weight(f"{p}.ffn_{part}_exps.weight", shape)
        for part, shape in zip(_PARTS, (inner, inner, outer), strict=True)
    ]
    if any(b.has(f"{p}.ffn_{part}_exps.bias") for part in _PARTS):
        weights += [
            b.weight(f"{p}.ffn_{part}_exps.bias", shape[:2])
            for part, shape in zip(_PARTS, (inner, inner, outer), strict=True)
        ]
    attrs: dict[str, Attr] = {
        "used": used,
        "gating": kind.gating,
        "normalize": kind.normalize,
        "activation": kind.activation,
    }
    mixed = b.node("ffn_experts", Op.EXPERTS, x, scores, *weights, **attrs)
    if not kind.shared:
        return mixed
    shared = _scored(b, x) if kind.shared == "scored" else _plain(b, x)
    return b.node("ffn_out", Op.ADD, mixed, shared)


def _count(hp: Hyperparameters, layer: int) -> int:
    """expert_count, or the rows of the layer's ffn_gate_inp.weight."""
    tensor = f"blk.{layer}.ffn_gate_inp.weight"
    return hp.agreed("expert_count", hp.integer("expert_count"), hp.dimension(tensor, 0, 2), tensor)


def _used(hp: Hyperparameters, layer: int) -> int:
    """expert_used_count: no tensor tells it."""
    used, count = hp.count("expert_used_count"), _count(hp, layer)
    if used is None:
        raise hp.missing("expert_used_count")
    if used > count:
        raise ModelError(
            f"{hp.file.path}: {hp.architecture}.expert_used_count is {used}, "
            f"more than the {count} experts"
        )
    return used


def _shared_size(b: GraphBuilder) -> int:
    key, tensor = "expert_shared_feed_forward_length", f"blk.{b.layer}.ffn_up_shexp.weight"
    return b.hp.agreed(key, b.hp.integer(key), b.hp.dimension(tensor, 0, 2), tensor)


def _scored(b: GraphBuilder, x: str) -> str:
    """An expert that sees every token (arXiv 2401.06066): a mixture of one, by its sigmoid."""
    p, width, size = f"blk.{b.layer}", b.hp.width, _shared_size(b)
    gate = b.single(f"{p}.ffn_gate_inp_shexp.weight", (width,))
    score = b.node("ffn_shared_score", Op.MATMUL, x, gate)
    weights = [
        b.single(f"{p}.ffn_{part}_shexp.weight", shape)
        for part, shape in zip(_PARTS, ((size, width),) * 2 + ((width, size),), strict=True)
    ]
    attrs: dict[str, Attr] = {"used": 1, "gating": "sigmoid", "normalize": False}
    return b.node("ffn_shared", Op.EXPERTS, x, score, *weights, **attrs)


def _plain(b: GraphBuilder, x: str) -> str:
    """A gated network beside the experts."""
    p, width, size = f"blk.{b.layer}", b.hp.width, _shared_size(b)
    gate = b.linear("ffn_shared_gate", x, f"{p}.ffn_gate_shexp", (size, width))
    up = b.linear("ffn_shared_up", x, f"{p}.ffn_up_shexp", (size, width))
    hidden = b.node("ffn_shared_act", Op.SILU_MUL, gate, up)
    return b.linear("ffn_shared", hidden, f"{p}.ffn_down_shexp", (width, size))
