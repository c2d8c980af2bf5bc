"""gemma3: Gemma 3 (arXiv 2503.19786); norms on both sides and of q and k, and five layers in six
that have a window and turn faster."""

from __future__ import annotations

from typing import Any

from forge.graph import Graph
from forge.models import decoder, gemma
from forge.models.hyperparameters import Hyperparameters
from forge.models.rope import rotation
from forge.models.windows import sliding_windows


def build(hp: Hyperparameters, **options: Any) -> Graph:
    """Layers with a window have a base of their own, and no scaling."""
    windows = sliding_windows(hp, period=6)
    size = hp.key_size(0)
    everywhere = rotation(hp, size)
    local = rotation(hp, size, base_key="rope.freq_base_swa", scaled=False)
    variant = gemma.shared(
        hp,
        qk_norm="head",
        post_norm=True,
        attention_scale=gemma.attention_scale(hp, 62),
        logit_cap=hp.cap("final_logit_softcapping", 0.0),
        windows=windows,
        rotations=tuple(local if window else everywhere for window in windows),
    )
    return decoder.build(variant, hp, **options)
