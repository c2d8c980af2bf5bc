"""What the Gemma generations share, and the first of them (arXiv 2403.08295)."""

from __future__ import annotations

import math
from typing import Any

from forge.graph import Graph, Op
from forge.models import decoder
from forge.models.hyperparameters import Hyperparameters
from forge.models.variant import Variant


def shared(hp: Hyperparameters, **differences: Any) -> Variant:
    """Rotation by halves, GeGLU, and an embedding as long as it is wide."""
    return Variant(
        rope_style="neox",
        gated=Op.GELU_MUL,
        embedding_scale=math.sqrt(hp.width),
        **differences,
    )


def attention_scale(hp: Hyperparameters, largest: int) -> float:
    """1/sqrt(head size), but for the model of `largest` layers, whose heads are measured by the
    width they share (llama.cpp tells it by the same number)."""
    size = hp.width // hp.heads(0) if hp.layers == largest else hp.key_size(0)
    return 1 / math.sqrt(max(1, size))


def build(hp: Hyperparameters, **options: Any) -> Graph:
    """The first generation."""
    return decoder.build(shared(hp), hp, **options)
