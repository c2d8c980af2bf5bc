"""granitemoe: Granite with experts, and a network for all tokens beside them where there is one."""

from __future__ import annotations

from typing import Any

from forge.graph import Graph
from forge.models import granite
from forge.models.hyperparameters import Hyperparameters
from forge.models.variant import Experts


def build(hp: Hyperparameters, **options: Any) -> Graph:
    """The metadata tells of the network beside."""
    beside = "plain" if hp.integer("expert_shared_feed_forward_length") else ""
    experts = Experts(size_key="feed_forward_length", shared=beside)
    return granite.build(hp, experts=experts, **options)
