"""gpt-oss: OpenAI's open-weight models (arXiv 2508.10925); experts with biases and a clamped gate,
a sink for every head, a window in every other layer."""

from __future__ import annotations

from typing import Any

from forge.graph import Graph
from forge.models import decoder
from forge.models.hyperparameters import Hyperparameters
from forge.models.rope import frequency_base, rotation
from forge.models.variant import Experts, Variant
from forge.models.windows import sliding_windows


def build(hp: Hyperparameters, **options: Any) -> Graph:
    """The window must be stated."""
    if hp.integer("attention.sliding_window") is None:
        raise hp.missing("attention.sliding_window")
    windows = sliding_windows(hp, period=2)
    size = hp.key_size(0)
    everywhere = rotation(hp, size)
    local = rotation(hp, size, base_key="rope.freq_base_swa", base=frequency_base(hp))
    variant = Variant(
        rope_style="neox",
        sinks=True,
        ffn_norm="post_attention_norm",
        experts=Experts(gating="softmax_selected", normalize=False, activation="swiglu_oai"),
        windows=windows,
        rotations=tuple(local if window else everywhere for window in windows),
    )
    return decoder.build(variant, hp, **options)
