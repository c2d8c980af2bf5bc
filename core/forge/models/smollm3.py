"""smollm3: SmolLM 3; every fourth layer has no positions (arXiv 2501.18795)."""

from __future__ import annotations

from typing import Any

from forge.graph import Graph
from forge.models import decoder
from forge.models.hyperparameters import Hyperparameters
from forge.models.rope import rotation
from forge.models.variant import Variant

_UNTURNED = 4
"""One layer in so many, the last of them; llama.cpp fixes it as well."""


def build(hp: Hyperparameters, **options: Any) -> Graph:
    """The other layers turn alike."""
    turn = rotation(hp, hp.key_size(0))
    turns = (turn if (layer + 1) % _UNTURNED else None for layer in range(hp.layers))
    return decoder.build(Variant(rotations=tuple(turns)), hp, **options)
