"""Every op in clear numpy: the definition that backends, probes and tests are compared with.

The functions work in the precision of their arguments (float32 to run, float64 to judge). Weights
are dense here. Activations are [T, n]; heads lie side by side within a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from forge.graph import Op

Array: TypeAlias = NDArray[Any]

_SCORES_AT_ONCE = 1 << 20
"""Attention scores held at one time: 4 MiB in float32, whatever the context."""


def embed(tokens: Array, table: Array) -> Array:
    """Rows of table [V, n] by token id."""
    rows: Array = table[tokens]
    return rows


def rms_norm(x: Array, weight: Array | None = None, *, epsilon: float) -> Array:
    """x over its root mean square, for every run of len(weight) columns (arXiv 1910.07467)."""
    size = x.shape[1] if weight is None else len(weight)
    runs = x.reshape(len(x), x.shape[1] // size, size)
    scaled = runs / np.sqrt(np.mean(runs * runs, axis=-1, keepdims=True) + x.dtype.type(epsilon))
    out: Array = scaled if weight is None else scaled * weight
    return out.reshape(x.shape)


def layer_norm(
    x: Array, weight: Array | None = None, bias: Array | None = None, *, epsilon: float
) -> Array:
    """x less its mean, over its standard deviation (arXiv 1607.06450)."""
    size = x.shape[1] if weight is None else len(weight)
    runs = x.reshape(len(x), x.shape[1] // size, size)
    centred = runs - runs.mean(axis=-1, keepdims=True)
    variance = np.mean(centred * centred, axis=-1, keepdims=True)
    out: Array = centred / np.sqrt(variance + x.dtype.type(epsilon))
    out = out if weight is None else out * weight
    out = out if bias is None else out + bias
    return out.reshape(x.shape)


def matmul(x: Array, weight: Array) -> Array:
    """x [T, k] times weight [n, k] transposed."""
    product: Array = x @ weight.T
    return product


def add(a: Array, b: Array) -> Array:
    """a + b; b may be one row for all."""
    total: Array = a + b
    return total


def mul(a: Array, b: Array) -> Array:
    """a * b, elementwise; b may be one row for all."""
    product: Array = a * b
    return product


def rope(
    x: Array,
    positions: Array,
    *,
    heads: int,
    frequencies: tuple[float, ...],
    style: str = "norm",
    magnitude: float = 1.0,
) -> Array:
    """Rotate pairs of each head by position x frequency (arXiv 2104.09864).

    `norm` pairs neighbours (2i, 2i+1); `neox` pairs halves (i, i + dims/2). All scaling is
    in the frequencies [radians a token] and the magnitude; columns past the pairs stay as they are.
    """
    angles = np.outer(positions.astype(np.float64), np.array(frequencies))[:, None, :]
    cos, sin = ((f(angles) * magnitude).astype(x.dtype) for f in (np.cos, np.sin))  # [T, 1, dims/2]
    out = x.reshape(len(x), heads, -1).copy()
    half = len(frequencies)
    first, second = (
        (slice(0, 2 * half, 2), slice(1, 2 * half, 2))
        if style == "norm"
        else (slice(0, half), slice(half, 2 * half))
    )
    a, b = out[..., first].copy(), out[..., second].copy()
    out[..., first] = a * cos - b * sin
    out[..., second] = a * sin + b * cos
    return out.reshape(x.shape)


def attention(
    q: Array,
    k: Array,
    v: Array,
    keys: Array,
    values: Array,
    positions: Array,
    slots: Array,
    sinks: Array | None = None,
    *,
    heads: int,
    kv_heads: int,
    scale: float,
    causal: bool = True,
    window: int = 0,
    softcap: float = 0.0,
) -> Array:
    """Append k and v to the caches [slots, kv heads, capacity, size] and attend over them.

    Grouped queries (arXiv 2305.13245); a window sees its last `window` positions, itself included;
    softcap bounds the scores (arXiv 2408.00118); a sink is one more score that carries no value.
    """
    count = len(q)
    keys[slots, :, positions] = k.reshape(count, kv_heads, -1)
    values[slots, :, positions] = v.reshape(count, kv_heads, -1)
    queries = q.reshape(count, kv_heads, heads // kv_heads, -1)
    out = np.empty((count, kv_heads, heads // kv_heads, values.shape[-1]), q.dtype)
    for slot in sorted({*slots.tolist()}):
        mine = np.flatnonzero(slots == slot)
        reach = int(positions[mine].max()) + 1
        step = max(1, _SCORES_AT_ONCE // (heads * reach))
        if len(mine) > 1 and not np.isfinite(values[slot, :, :reach]).all():
            step = 1  # a weight of 0 times NaN is NaN: a token must not meet those it cannot see
        for block in (mine[i : i + step] for i in range(0, len(mine), step)):
            at = positions[block]
            stop = int(at.max()) + 1 if causal else reach
            start = max(0, int(at.min()) + 1 - window) if window else 0
            seen = np.arange(start, stop)
            hidden = seen > at[:, None] if causal else np.zeros((len(block), len(seen)), bool)
            if window:
                hidden = hidden | (at[:, None] - seen >= window)
            scores = queries[block].transpose(1, 2, 0, 3).reshape(kv_heads, -1, q.shape[1] // heads)
            scores = (scores @ keys[slot, :, start:stop].transpose(0, 2, 1)) * q.dtype.type(scale)
            if softcap:
                scores = np.tanh(scores / softcap) * q.dtype.type(softcap)
            grouped = scores.reshape(kv_heads, -1, len(block), len(seen))
            grouped = np.where(hidden, q.dtype.type(-np.inf), grouped)
            weights = _softmax(grouped, None if sinks is None else sinks.reshape(kv_heads, -1))
            flat = weights.reshape(kv_heads, -1, len(seen)) @ values[slot, :, start:stop]
            out[block] = flat.reshape(kv_heads, -1, len(block), flat.shape[-1]).transpose(
                2, 0, 1, 3
            )
    return out.reshape(count, -1)


def _softmax(scores: Array, sinks: Array | None) -> Array:
    """Over the last axis of [kv heads, group, T, S]; sinks [kv heads, group] join the sum."""
    top = scores.max(axis=-1, keepdims=True)
    if sinks is not None:
        top = np.maximum(top, sinks[..., None, None])
    weights = np.exp(scores - top)
    total = weights.sum(axis=-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(sinks[..., None, None] - top)
    out: Array = weights / total
    return out


def silu(x: Array) -> Array:
    """x times its logistic sigmoid (arXiv 1702.03118)."""
    with np.errstate(over="ignore"):  # exp(-x) is inf far below zero: x / inf is the right 0
        out: Array = x / (1 + np.exp(-x))
    return out


def gelu(x: Array, approximation: str = "tanh") -> Array:
    """x times the normal distribution at x (arXiv 1606.08415): tanh, quick, or none (exact)."""
    if approximation == "none":
        erf = np.vectorize(math.erf, otypes=[x.dtype])
        out: Array = (x * 0.5 * (1 + erf(x / math.sqrt(2)))).astype(x.dtype)
    elif approximation == "quick":
        out = silu(x * x.dtype.type(1.702)) / x.dtype.type(1.702)
    else:
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
        out = (x * 0.5 * (1 + np.tanh(inner))).astype(x.dtype)
    return out


def silu_mul(gate: Array, up: Array | None = None) -> Array:
    """silu(gate) * up (SwiGLU, arXiv 2002.05202); silu alone without up."""
    out = silu(gate)
    return out if up is None else out * up


def gelu_mul(gate: Array, up: Array | None = None, *, approximation: str = "tanh") -> Array:
    """gelu(gate) * up (GeGLU, arXiv 2002.05202); gelu alone without up."""
    out = gelu(gate, approximation)
    return out if up is None else out * up


def swiglu_oai(gate: Array, up: Array) -> Array:
    """gpt-oss's gate (arXiv 2508.10925): both clamped, a steeper sigmoid, and up lies around 1.

    The gate is clamped from above alone.
    """
    top = np.minimum(gate, gate.dtype.type(7))
    with np.errstate(over="ignore"):
        steep = top / (1 + np.exp(top * top.dtype.type(-1.702)))
    out: Array = steep * (np.clip(up, -7, 7) + 1)
    return out


GATED: Mapping[str, Callable[[Array, Array], Array]] = {
    "silu": silu_mul,
    "gelu": gelu_mul,
    "swiglu_oai": swiglu_oai,
}
"""What an expert does with its gate and up, by the attribute `activation`."""


def softcap(x: Array, *, cap: float) -> Array:
    """Bound x smoothly to (-cap, cap)."""
    out: Array = np.tanh(x / x.dtype.type(cap)) * x.dtype.type(cap)
    return out


def scale(x: Array, *, factor: float) -> Array:
    """x times a constant."""
    out: Array = x * x.dtype.type(factor)
    return out


def select_rows(x: Array, rows: Array) -> Array:
    """The rows of x whose outputs are wanted."""
    out: Array = x[rows]
    return out


def experts(
    x: Array,
    scores: Array,
    gate: Array,
    up: Array,
    down: Array,
    gate_bias: Array | None = None,
    up_bias: Array | None = None,
    down_bias: Array | None = None,
    *,
    used: int,
    activation: str = "silu",
    gating: str = "softmax",
    normalize: bool = True,
    factor: float = 1.0,
) -> Array:
    """A mixture of gated feed-forward experts (arXiv 2401.04088): the best `used` by score.

    gate and up are [experts, f, n], down [experts, n, f]; their biases, all three or none,
    [experts, f] and [experts, n]. gating: softmax or sigmoid over all, or softmax_selected over the
    chosen; `normalize` makes the chosen weights sum to one. activation: silu or gelu of the gate
    times up, or swiglu_oai, see there.
    """
    chosen = np.argsort(-scores, axis=1, kind="stable")[:, :used]
    raw = np.take_along_axis(scores, chosen, 1) if gating == "softmax_selected" else scores
    if gating == "sigmoid":
        weights = 1 / (1 + np.exp(-raw))
    else:
        weights = np.exp(raw - raw.max(axis=1, keepdims=True))
        weights = weights / weights.sum(axis=1, keepdims=True)
    if gating != "softmax_selected":
        weights = np.take_along_axis(weights, chosen, 1)
    if normalize:
        weights = weights / weights.sum(axis=1, keepdims=True)
    gated = GATED[activation]
    out = np.zeros_like(x)
    for expert in sorted({*chosen.ravel().tolist()}):
        row, place = np.nonzero(chosen == expert)
        g, u = x[row] @ gate[expert].T, x[row] @ up[expert].T
        if gate_bias is not None and up_bias is not None:
            g, u = g + gate_bias[expert], u + up_bias[expert]
        result = gated(g, u) @ down[expert].T
        if down_bias is not None:
            result = result + down_bias[expert]
        out[row] += result * weights[row, place, None] * x.dtype.type(factor)
    return out


KERNELS: Mapping[Op, Callable[..., Array]] = {
    Op.EMBED: embed,
    Op.RMS_NORM: rms_norm,
    Op.LAYER_NORM: layer_norm,
    Op.MATMUL: matmul,
    Op.ADD: add,
    Op.MUL: mul,
    Op.ROPE: rope,
    Op.ATTENTION: attention,
    Op.SILU_MUL: silu_mul,
    Op.GELU_MUL: gelu_mul,
    Op.SOFTCAP: softcap,
    Op.SCALE: scale,
    Op.SELECT_ROWS: select_rows,
    Op.EXPERTS: experts,
}
