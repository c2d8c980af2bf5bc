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


@dataclass(frozen=True, slots=True)
class TinyTensor:
    """A tensor by its name in GGUF."""

    name: str
    weights: Weights
    """float32 [rows, columns] or [size]."""
    std: float
    """What they were drawn with; 0 if they were not."""


def tiny_weights(shape: TinyShape, random: np.random.Generator) -> Iterator[TinyTensor]:
    """Every tensor, in the file's order."""
    queries, keys = shape.heads * shape.head_size, shape.kv_heads * shape.head_size

    def matrix(name: str, rows: int, columns: int, gain: float = OTHER) -> TinyTensor:
        std = gain / math.sqrt(columns)
        weights = random.standard_normal((rows, columns), np.float32) * np.float32(std)
        return TinyTensor(name, weights, std)

    def vector(name: str, size: int, mean: float, std: float) -> TinyTensor:
        weights = mean + std * random.standard_normal(size, np.float32)
        return TinyTensor(name, weights.astype(np.float32), std)

    # Rows of an embedding that is no output are near the scale of what the layers add to them.
    gain = OUTPUT if shape.tied else math.sqrt(shape.width)
    yield matrix("token_embd.weight", shape.vocabulary, shape.width, gain)
    if not shape.tied:
        yield matrix("output.weight", shape.vocabulary, shape.width, OUTPUT)
    yield vector("output_norm.weight", shape.width, 1.0, 0.2)
    if shape.rope_scaling is not None and shape.rope_scaling.type == "llama3":
        yield TinyTensor("rope_freqs.weight", rope_factors(shape.rope_scaling, shape), 0.0)
    for layer in range(shape.layers):
        block = f"blk.{layer}."
        yield vector(block + "attn_norm.weight", shape.width, 1.0, 0.2)
        for name, rows, gain in (
            ("attn_q", queries, QUERY_KEY),
            ("attn_k", keys, QUERY_KEY),
            ("attn_v", keys, OTHER),
        ):
            yield matrix(f"{block}{name}.weight", rows, shape.width, gain)
            if shape.architecture == "qwen2":
                yield vector(f"{block}{name}.bias", rows, 0.0, 0.5)
        if shape.architecture == "qwen3":
            # They undo the scale of q and k, so attention is as sharp as these make it.
            yield vector(block + "attn_q_norm.weight", shape.head_size, QUERY_KEY, 0.3)
            yield vector(block + "attn_k_norm.weight", shape.head_size, QUERY_KEY, 0.3)
        yield matrix(block + "attn_output.weight", shape.width, queries)
        yield vector(block + "ffn_norm.weight", shape.width, 1.0, 0.2)
        yield matrix(block + "ffn_gate.weight", shape.ffn, shape.width)
        yield matrix(block + "ffn_up.weight", shape.ffn, shape.width)
        yield matrix(block + "ffn_down.weight", shape.width, shape.ffn)


def rope_factors(scaling: RopeScaling, shape: TinyShape) -> Weights:
    """What each rope frequency is divided by, after Llama 3.1 (its rope_type "llama3")."""
    exponents = np.arange(0, shape.head_size, 2) / shape.head_size
    wavelengths = 2 * math.pi * shape.rope_base**exponents
    turns = (scaling.original_context or 0) / wavelengths
    low, high = scaling.low_frequency, scaling.high_frequency
    kept = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return (1 / (kept + (1 - kept) / scaling.factor)).astype(np.float32)
