"""Where one model differs from the others of its family, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from forge.graph import Op
from forge.models.rope import Rotation


@dataclass(frozen=True, slots=True)
class Experts:
    """Where a mixture of experts (arXiv 2401.04088) differs."""

    gating: str = "softmax"
    normalize: bool = True
    """Whether the weights of the chosen experts sum to one."""
    activation: str = "silu"
    shared: str = ""
    """One more expert sees every token: "plain", or "scored" by the sigmoid of its own score."""
    size_key: str = "expert_feed_forward_length"
    """What metadata calls an expert's inner width."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What an architecture's module decides. Biases need no word: they are there if the file has
    them, and so is an output that is not the embedding."""

    norm: Op = Op.RMS_NORM
    pre_norm: bool = True
    """Attention and feed-forward see a normalised input."""
    post_norm: bool = False
    """Their outputs are normalised before they are added."""
    ffn_norm: str = "ffn_norm"
    """The tensor of the norm before the feed-forward network."""
    qk_norm: str = ""
    """q and k are normalised: each "head" by itself, or a whole "row"."""
    positions: bool = False
    """Each position has an embedding that is added to its token's."""
    rope_style: str = "norm"
    rotations: tuple[Rotation | None, ...] | None = None
    """One a layer, None for a layer without positions; without it the metadata's for all."""
    windows: tuple[int, ...] = ()
    """How many positions each layer sees, 0 for all; empty means all in every layer."""
    attention_scale: float | None = None
    """What scores are multiplied by; 1/sqrt(head size) without it."""
    attention_cap: float = 0.0
    """What bounds the scores smoothly; 0 is nothing."""
    sinks: bool = False
    """Each head has a score that carries no value."""
    gated: Op = Op.SILU_MUL
    gate: str = "own"
    """Where the feed-forward's gate is: in a tensor of its "own", "above" up in one, or there is
    "none"."""
    experts: Experts | None = None
    """What is in the place of the feed-forward network."""
    embedding_scale: float = 1.0
    residual_scale: float = 1.0
    """What attention and feed-forward are multiplied by before they are added."""
    logit_scale: float = 1.0
    logit_cap: float = 0.0
    """What bounds the logits smoothly; 0 is nothing."""
