"""The hyperparameters of a tiny model, checked for what the architectures and llama.cpp allow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from forge.errors import UsageError
from forge.testing.tiny_families import FAMILIES, Family

FACTORS = ("llama3", "longrope")
"""Rope scaling that is in tensors."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RopeScaling:
    """How rope is stretched beyond the context of the training; names as in GGUF's metadata."""

    type: str
    """linear, yarn, llama3 (one factor for each frequency, in the tensor rope_freqs), or longrope
    (factors for a short and for a long context, in two tensors)."""
    factor: float
    original_context: int | None = None
    """The context of the training; all but linear need it."""
    low_frequency: float = 1.0
    """llama3: a wave that fits the original context at most this often is slowed by `factor`."""
    high_frequency: float = 4.0
    """llama3: one that fits it at least this often stays as it is."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> RopeScaling:
        """From a mapping; an unknown or missing name is a UsageError."""
        try:
            return cls(**values)
        except TypeError as error:
            known = ", ".join(f.name for f in fields(cls))
            raise UsageError(f"rope scaling: {error}\nKnown are {known}.") from None

    def __post_init__(self) -> None:
        """Check type, factor and context."""
        known = ("linear", "yarn", *FACTORS)
        if self.type not in known:
            raise UsageError(f"rope scaling type is {self.type!r}; known are {', '.join(known)}")
        if not self.factor > 0:
            raise UsageError(f"rope scaling factor is {self.factor}; allowed is more than 0")
        if self.type != "linear" and not self.original_context:
            raise UsageError(f"rope scaling of type {self.type} needs original_context")


@dataclass(frozen=True, slots=True, kw_only=True)
class TinyShape:
    """A tiny model's hyperparameters."""

    architecture: str
    layers: int
    width: int
    heads: int
    kv_heads: int
    head_size: int
    ffn: int
    vocabulary: int
    context: int
    rope_base: float
    rope_scaling: RopeScaling | None
    tied: bool
    experts: int = 0
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Keys after "ARCHITECTURE."."""

    def __post_init__(self) -> None:
        """Check each value, and that they fit together."""
        family_of(self.architecture)
        for name in ("layers", "width", "heads", "kv_heads", "ffn", "context"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; allowed is 1 or more")
        if self.experts < 0:
            raise UsageError(f"experts is {self.experts}; allowed is 0 or more")
        if self.family.experts and not self.experts:
            raise UsageError(f"{self.architecture} needs experts")
        if self.experts and not (self.family.experts or self.family.may_have_experts):
            raise UsageError(f"{self.architecture} has no experts")
        if self.vocabulary < 2:
            raise UsageError(f"vocabulary is {self.vocabulary}; allowed is 2 or more")
        if self.heads % self.kv_heads:
            raise UsageError(f"{self.heads} heads cannot share {self.kv_heads} kv_heads evenly")
        if self.head_size < 2 or self.head_size % 2:
            raise UsageError(f"head_size is {self.head_size}; rope needs an even number")
        if self.family.square and self.head_size * self.heads != self.width:
            raise UsageError(
                f"{self.architecture} needs head_size × heads = width; "
                f"{self.head_size} × {self.heads} is not {self.width}"
            )
        kind = self.rope_scaling.type if self.rope_scaling else ""
        if kind in FACTORS and kind not in self.family.rope_factors:
            takers = ", ".join(name for name, f in FAMILIES.items() if kind in f.rope_factors)
            raise UsageError(f"{kind} rope factors are for {takers}, not {self.architecture}")

    @property
    def expert_ffn(self) -> int:
        """An expert's inner width."""
        return int(self.metadata.get("expert_feed_forward_length", self.ffn))

    @property
    def shared_ffn(self) -> int:
        """The inner width of the expert that every token meets."""
        return int(self.metadata.get("expert_shared_feed_forward_length", self.ffn))

    @property
    def family(self) -> Family:
        """What the architecture's files hold."""
        return family_of(self.architecture)


def family_of(architecture: str) -> Family:
    """What files of an architecture hold; UsageError if there are no tiny models of it."""
    if architecture not in FAMILIES:
        raise UsageError(
            f"no tiny model of architecture {architecture!r}; known are {', '.join(FAMILIES)}"
        )
    return FAMILIES[architecture]


def checked_parts(split: int | None, tensors: int) -> int:
    """How many files; UsageError if so many tensors do not fill them."""
    parts = 1 if split is None else split
    if not 1 <= parts <= tensors:
        raise UsageError(f"split is {split}; the model has {tensors} tensors, so 1 to {tensors}")
    return parts
