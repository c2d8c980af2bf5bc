"""olmo2: OLMo 2 (arXiv 2501.00656) and 3; norms after attention and feed-forward alone, and of
whole rows of q and k. OLMo 3 has windows, and stretches the layers without."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from forge.graph import Graph
from forge.models import decoder
from forge.models.hyperparameters import Hyperparameters
from forge.models.rope import rotation
from forge.models.variant import Variant
from forge.models.windows import sliding_windows


def build(hp: Hyperparameters, **options: Any) -> Graph:
    """A layer with a window turns unscaled, by the base of all, as in llama.cpp."""
    windows = sliding_windows(hp, period=4)
    size = hp.key_size(0)
    everywhere = rotation(hp, size)
    local = replace(rotation(hp, size, scaled=False), magnitude=1.0)
    variant = Variant(
        rope_style="neox",
        pre_norm=False,
        post_norm=True,
        qk_norm="row",
        windows=windows,
        rotations=tuple(local if window else everywhere for window in windows),
    )
    return decoder.build(variant, hp, **options)
