"""granite: IBM's Granite 3 and 4, whose signals are scaled by numbers in the metadata."""

from __future__ import annotations

from typing import Any

from forge.errors import ModelError
from forge.graph import Graph
from forge.models import decoder
from forge.models.hyperparameters import Hyperparameters
from forge.models.variant import Experts, Variant


def build(hp: Hyperparameters, *, experts: Experts | None = None, **options: Any) -> Graph:
    """A multiplier of 0 is none; logits are divided by theirs, which must be there."""
    by = _multiplier(hp, "logit_scale")
    if by is None:
        raise hp.missing("logit_scale", "It must not be 0.")
    # llama.cpp's switch for no positions, which it reads for this architecture alone
    unturned = experts is None and hp.flag("rope.scaling.finetuned") is False
    variant = Variant(
        rotations=(None,) * hp.layers if unturned else None,
        embedding_scale=_multiplier(hp, "embedding_scale") or 1.0,
        residual_scale=_multiplier(hp, "residual_scale") or 1.0,
        attention_scale=_multiplier(hp, "attention.scale"),
        logit_scale=1 / by,
        experts=experts,
    )
    return decoder.build(variant, hp, **options)


def _multiplier(hp: Hyperparameters, key: str) -> float | None:
    """The number at a key, None for 0; it must be positive and within float32's range."""
    value = hp.number(key)
    if not value:
        return None
    if not 1e-30 < value < 1e30:
        raise ModelError(
            f"{hp.file.path}: {hp.architecture}.{key} is {value}, must be finite and above 0"
        )
    return value
