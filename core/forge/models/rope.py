"""Rotary frequencies: every kind of scaling becomes numbers here, so that backends need none.

Linear interpolation (arXiv 2306.15595), YaRN (arXiv 2309.00071), frequency factors in a tensor
(Llama 3's kind), and LongRoPE's (arXiv 2402.13753), which come in a pair. Defaults and the order of
steps are llama.cpp's, whose files these are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from forge.errors import ModelError, UnsupportedModel
from forge.gguf.errors import show
from forge.models.hyperparameters import Hyperparameters
from forge.weights import dequantize

_FAST, _SLOW = 32.0, 1.0
"""YaRN's beta: for these architectures llama.cpp takes no others from a file."""
_LARGEST = 3e38


@dataclass(frozen=True, slots=True)
class Rotation:
    """frequencies in radians a token, one a pair of dimensions; magnitude scales the result."""

    frequencies: tuple[float, ...]
    magnitude: float = 1.0


def frequency_base(
    hp: Hyperparameters, key: str = "rope.freq_base", default: float = 10000.0
) -> float:
    """What the frequencies are powers of."""
    return _above(1.0, hp, key, default)


def rotation(
    hp: Hyperparameters,
    head_size: int,
    *,
    base_key: str = "rope.freq_base",
    base: float = 10000.0,
    scaled: bool = True,
    context: int = 0,
) -> Rotation:
    """The rotation that the model's metadata and its factors ask for.

    `base` serves where `base_key` is missing; without `scaled` the context is not stretched.
    `context` in tokens chooses between long and short factors.
    """
    dims = hp.integer("rope.dimension_count")
    dims = head_size if dims is None else dims
    if not 0 < dims <= head_size or dims % 2:
        raise ModelError(
            f"{hp.file.path}: {hp.architecture}.rope.dimension_count is {dims}: "
            f"it must be even and at most the head size, {head_size}"
        )
    base = frequency_base(hp, base_key, base)
    frequencies = base ** (-2.0 * np.arange(dims // 2) / dims) / _factors(hp, dims // 2, context)
    kind = hp.text("rope.scaling.type") or "linear"
    factor = _scaling_factor(hp)
    magnitude = _above(0.0, hp, "rope.scaling.attn_factor", 1.0)
    if kind == "none" or not scaled:
        pass
    elif kind in ("linear", "longrope"):
        frequencies = frequencies / factor
    elif kind == "yarn":
        weight = _yarn_interpolation(hp, dims, base)
        frequencies = frequencies / factor * weight + frequencies * (1 - weight)
        magnitude *= 1 + 0.1 * math.log(max(1.0, factor))
    else:
        raise UnsupportedModel(
            f"{hp.file.path}: {hp.architecture}.rope.scaling.type {show(kind)!r} is not one "
            f"that forge knows: none, linear, yarn, longrope"
        )
    return Rotation(tuple(map(float, frequencies)), magnitude)


def _yarn_interpolation(hp: Hyperparameters, dims: int, base: float) -> np.ndarray:
    """How much of each pair is interpolated: 0 for fast pairs, 1 for slow ones, a ramp between."""
    original = _original_context(hp)

    def pair_with(rotations: float) -> float:
        """The pair that turns `rotations` times within the original context."""
        return dims * math.log(original / (rotations * 2 * math.pi)) / (2 * math.log(base))

    low = max(0.0, math.floor(pair_with(_FAST)))
    high = min(dims - 1.0, math.ceil(pair_with(_SLOW)))
    ramp = (np.arange(dims // 2) - low) / max(0.001, high - low)
    weight: np.ndarray = np.clip(ramp, 0.0, 1.0)
    return weight


def _original_context(hp: Hyperparameters) -> int:
    """What the model was trained for before it was stretched."""
    original = hp.count("rope.scaling.original_context_length") or hp.context
    if original is None:
        raise hp.missing("rope.scaling.original_context_length")
    return original


def _factors(hp: Hyperparameters, pairs: int, context: int) -> np.ndarray:
    """The divisors in rope_freqs.weight or those for this context, ones without them."""
    name = "rope_freqs.weight"
    if name not in hp.file.tensors and "rope_factors_long.weight" in hp.file.tensors:
        name = f"rope_factors_{'long' if context > _original_context(hp) else 'short'}.weight"
    tensor = hp.file.tensors.get(name)
    if tensor is None:
        return np.ones(pairs)
    if tensor.shape != (pairs,):
        raise ModelError(f"{hp.file.path}: {name} has shape {list(tensor.shape)}, needs [{pairs}]")
    kind = hp.readable(name)
    rows = hp.file.data(name).reshape(1, -1)
    factors: np.ndarray = dequantize(rows, kind)[0].astype(np.float64)
    if not (np.isfinite(factors).all() and (factors > 0).all()):
        raise ModelError(f"{hp.file.path}: {name} must be positive and finite")
    return factors


def _scaling_factor(hp: Hyperparameters) -> float:
    """rope.scaling.factor, else the older rope.scale_linear; zero means none."""
    key = "rope.scaling.factor"
    if hp.number(key) is None:
        key = "rope.scale_linear"
    return 1.0 if hp.number(key) == 0 else _above(0.0, hp, key, 1.0)


def _above(least: float, hp: Hyperparameters, key: str, default: float) -> float:
    """The number at a key, which must lie above `least` and within float32's range."""
    value = hp.number(key)
    value = default if value is None else value
    if not (least < value < _LARGEST and value > 1 / _LARGEST):
        raise ModelError(
            f"{hp.file.path}: {hp.architecture}.{key} is {value}, "
            f"must be finite and above {least:g}"
        )
    return value
