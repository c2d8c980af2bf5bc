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
    return b.node("ffn_out", Op.ADD, mixed, _shared(b, x)) if kind.shared else mixed


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


def _shared(b: GraphBuilder, x: str) -> str:
    """The expert that sees every token (arXiv 2401.06066): a mixture of one, by its sigmoid."""
    hp, p = b.hp, f"blk.{b.layer}"
    key, tensor = "expert_shared_feed_forward_length", f"{p}.ffn_up_shexp.weight"
    size = hp.agreed(key, hp.integer(key), hp.dimension(tensor, 0, 2), tensor)
    gate = b.single(f"{p}.ffn_gate_inp_shexp.weight", (hp.width,))
    score = b.node("ffn_shared_score", Op.MATMUL, x, gate)
    inner, outer = (size, hp.width), (hp.width, size)
    weights = [
        b.single(f"{p}.ffn_{part}_shexp.weight", shape)
        for part, shape in zip(_PARTS, (inner, inner, outer), strict=True)
    ]
    attrs: dict[str, Attr] = {"used": 1, "gating": "sigmoid", "normalize": False}
    return b.node("ffn_shared", Op.EXPERTS, x, score, *weights, **attrs)
