"""gemma2: Gemma 2 (arXiv 2408.00118); norms on both sides, soft caps, a window in every other
layer."""

from __future__ import annotations

from typing import Any

from forge.graph import Graph
from forge.models import decoder, gemma
from forge.models.hyperparameters import Hyperparameters
from forge.models.rope import frequency_base, rotation
from forge.models.windows import sliding_windows


def build(hp: Hyperparameters, **options: Any) -> Graph:
    """Caps and window are the paper's where the file says nothing, as in llama.cpp."""
    windows = sliding_windows(hp, period=2, default=4096)
    size = hp.key_size(0)
    everywhere = rotation(hp, size)
    local = rotation(hp, size, base_key="rope.freq_base_swa", base=frequency_base(hp))
    variant = gemma.shared(
        hp,
        post_norm=True,
        attention_scale=gemma.attention_scale(hp, 46),
        attention_cap=hp.cap("attn_logit_softcapping", 50.0),
        logit_cap=hp.cap("final_logit_softcapping", 30.0),
        windows=windows,
        rotations=tuple(local if window else everywhere for window in windows),
    )
    return decoder.build(variant, hp, **options)
