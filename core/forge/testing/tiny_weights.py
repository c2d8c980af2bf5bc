"""The random tensors of a tiny model: names and shapes as in GGUF, sizes that keep it alive."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forge.testing.tiny_shape import RopeScaling, TinyShape

Weights = NDArray[np.float32]

# Times 1/sqrt(fan_in). The scores q·k / sqrt(head_size) then have a standard deviation of about
# QUERY_KEY², where softmax looks at few positions; the logits one of about OUTPUT.
QUERY_KEY = 1.6
OTHER = 1.5
OUTPUT = 2.5
ROUTER = 2.0
LOUD = 5.0
"""The last norm's weight where the embedding is lengthened and serves as the output too."""


@dataclass(frozen=True, slots=True)
class TinyTensor:
    """A tensor by its name in GGUF."""

    name: str
    weights: Weights
    """float32 [rows, columns] or [size]."""
    std: float
    """What they were drawn with; 0 if they were not."""


@dataclass(frozen=True, slots=True)
class _Draw:
    """Draws tensors from one stream, in the file's order."""

    shape: TinyShape
    random: np.random.Generator

    def matrix(self, name: str, *size: int, gain: float = OTHER) -> TinyTensor:
        """Rows that give sums of `gain`, for columns of 1."""
        std = gain / math.sqrt(size[-1])
        weights = self.random.standard_normal(size, np.float32) * np.float32(std)
        return TinyTensor(f"{name}.weight", weights, std)

    def vector(self, name: str, *size: int, mean: float = 0.0, std: float = 0.5) -> TinyTensor:
        weights = mean + std * self.random.standard_normal(size, np.float32)
        return TinyTensor(name, weights.astype(np.float32), std)

    def norm(self, name: str, size: int | None = None, mean: float = 1.0) -> Iterator[TinyTensor]:
        """The weight of a norm, not all ones."""
        size = self.shape.width if size is None else size
        yield self.vector(f"{name}.weight", size, mean=mean, std=0.2 * mean)
        if self.shape.family.layer_norm:
            yield self.vector(f"{name}.bias", size, std=0.1)

    def linear(
        self, name: str, rows: int, columns: int, gain: float = OTHER
    ) -> Iterator[TinyTensor]:
        """A matrix, and the bias that the family has of it."""
        yield self.matrix(name, rows, columns, gain=gain)
        if name.rpartition(".")[2] in self.shape.family.biases:
            yield self.vector(f"{name}.bias", rows)


def tiny_weights(shape: TinyShape, random: np.random.Generator) -> Iterator[TinyTensor]:
    """Every tensor, in the file's order."""
    draw, family = _Draw(shape, random), shape.family
    # Rows of an embedding that is no output are near the scale of what the layers add to them.
    gain = OUTPUT if shape.tied else math.sqrt(shape.width)
    loud = 1.0
    if family.long_embedding:  # the graph makes it sqrt(width) longer; an output must stay large
        loud = LOUD if shape.tied else 1.0
        gain = OUTPUT / LOUD if shape.tied else 1.0
    yield draw.matrix("token_embd", shape.vocabulary, shape.width, gain=gain)
    if not shape.tied:
        yield draw.matrix("output", shape.vocabulary, shape.width, gain=OUTPUT)
    yield from draw.norm("output_norm", mean=loud)
    if shape.rope_scaling is not None and shape.rope_scaling.type == "llama3":
        yield TinyTensor("rope_freqs.weight", rope_factors(shape.rope_scaling, shape), 0.0)
    if shape.rope_scaling is not None and shape.rope_scaling.type == "longrope":
        pairs = shape.head_size // 2
        for name, most in (("long", shape.rope_scaling.factor), ("short", 1.5)):
            factors = np.linspace(1.0, most, pairs, dtype=np.float32)
            yield TinyTensor(f"rope_factors_{name}.weight", factors, 0.0)
    if family.positions:
        yield draw.matrix("position_embd", shape.context, shape.width, gain=gain)
    for layer in range(shape.layers):
        yield from _attention(draw, f"blk.{layer}")
        yield from _feed_forward(draw, f"blk.{layer}")


def _attention(draw: _Draw, block: str) -> Iterator[TinyTensor]:
    shape, family = draw.shape, draw.shape.family
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size
    if family.pre_norm:
        yield from draw.norm(f"{block}.attn_norm")
    if family.fused:
        yield from draw.linear(f"{block}.attn_qkv", queries + 2 * keys, shape.width, QUERY_KEY)
    else:
        yield from _projections(draw, block, queries, keys)
    if family.qk_norm:
        # They undo the scale of q and k, so attention is as sharp as these make it.
        for name, row in (("attn_q_norm", queries), ("attn_k_norm", keys)):
            size = shape.head_size if family.qk_norm == "head" else row
            yield draw.vector(f"{block}.{name}.weight", size, mean=QUERY_KEY, std=0.3)
    yield from draw.linear(f"{block}.attn_output", shape.width, queries)
    if family.sinks:
        yield draw.vector(f"{block}.attn_sinks.weight", shape.heads, mean=2.0, std=1.0)
    if family.post_norm:
        yield from draw.norm(f"{block}.post_attention_norm")


def _projections(draw: _Draw, block: str, queries: int, keys: int) -> Iterator[TinyTensor]:
    yield from draw.linear(f"{block}.attn_q", queries, draw.shape.width, QUERY_KEY)
    yield from draw.linear(f"{block}.attn_k", keys, draw.shape.width, QUERY_KEY)
    yield from draw.linear(f"{block}.attn_v", keys, draw.shape.width)


def _feed_forward(draw: _Draw, block: str) -> Iterator[TinyTensor]:
    shape, family = draw.shape, draw.shape.family
    if family.pre_norm:
        yield from draw.norm(f"{block}.{family.ffn_norm}")
    if shape.experts:
        yield from _experts(draw, block)
        return
    if family.gate == "own":
        yield from draw.linear(f"{block}.ffn_gate", shape.ffn, shape.width)
    rows = 2 * shape.ffn if family.gate == "above" else shape.ffn
    yield from draw.linear(f"{block}.ffn_up", rows, shape.width)
    yield from draw.linear(f"{block}.ffn_down", shape.width, shape.ffn)
    if family.post_norm:
        yield from draw.norm(f"{block}.post_ffw_norm")


def _experts(draw: _Draw, block: str) -> Iterator[TinyTensor]:
    shape, family = draw.shape, draw.shape.family
    count, size = shape.experts, shape.expert_ffn
    yield from draw.linear(f"{block}.ffn_gate_inp", count, shape.width, ROUTER)
    for part, rows, columns in _gated(size, shape.width):
        gain = OTHER
        if family.expert_gain:  # up's clamp leaves a few units, which down makes small again
            gain = OTHER / family.expert_gain if part == "down" else family.expert_gain
        yield draw.matrix(f"{block}.ffn_{part}_exps", count, rows, columns, gain=gain)
        if "experts" in family.biases:
            yield draw.vector(f"{block}.ffn_{part}_exps.bias", count, rows)
    if family.shared_expert and shape.shared_ffn:
        if family.shared_expert == "scored":
            yield draw.vector(f"{block}.ffn_gate_inp_shexp.weight", shape.width, std=0.2)
        for part, rows, columns in _gated(shape.shared_ffn, shape.width):
            yield draw.matrix(f"{block}.ffn_{part}_shexp", rows, columns)


def _gated(inner: int, width: int) -> tuple[tuple[str, int, int], ...]:
    """Parts of a gated network: name, rows, columns."""
    return ("gate", inner, width), ("up", inner, width), ("down", width, inner)


def rope_factors(scaling: RopeScaling, shape: TinyShape) -> Weights:
    """What each rope frequency is divided by, after Llama 3.1 (its rope_type "llama3")."""
    exponents = np.arange(0, shape.head_size, 2) / shape.head_size
    wavelengths = 2 * math.pi * shape.rope_base**exponents
    turns = (scaling.original_context or 0) / wavelengths
    low, high = scaling.low_frequency, scaling.high_frequency
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (1 / (kept + (1 - kept) / scaling.factor)).astype(np.float32)
