"""llama: LLaMA 1 to 3 (arXiv 2407.21783), Mistral (arXiv 2310.06825), SmolLM and more; with experts
it is Mixtral (arXiv 2401.04088)."""

from __future__ import annotations

from typing import Any

from forge.graph import Graph
from forge.models import decoder
from forge.models.hyperparameters import Hyperparameters
from forge.models.variant import Experts, Variant


def build(hp: Hyperparameters, **options: Any) -> Graph:
    """Experts are there if the metadata counts them."""
    experts = Experts(size_key="feed_forward_length") if hp.integer("expert_count") else None
    return decoder.build(Variant(rope_style="norm", experts=experts), hp, **options)
