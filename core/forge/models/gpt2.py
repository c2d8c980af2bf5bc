"""gpt2: GPT-2 (Radford et al., 2019); layer norms, biases, no gate, and learned positions."""

from __future__ import annotations

from typing import Any

from forge.graph import Graph, Op
from forge.models import decoder
from forge.models.hyperparameters import Hyperparameters
from forge.models.variant import Variant


def build(hp: Hyperparameters, **options: Any) -> Graph:
    """Nothing is turned: a position is added to its token."""
    variant = Variant(
        norm=Op.LAYER_NORM,
        positions=True,
        rotations=(None,) * hp.layers,
        gated=Op.GELU_MUL,
        gate="none",
    )
    return decoder.build(variant, hp, **options)
