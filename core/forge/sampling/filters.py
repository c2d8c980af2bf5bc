"""The steps of the chain as plain functions on a vector of finite or -inf float32 logits.

`biased` and `penalised` change logits; the others answer with the ascending positions of what they
keep, never none. A cut between equal scores keeps the lower positions, so the answer depends on the
numbers alone. Nothing sorts the whole vocabulary unless the kept mass really reaches that far.

Meanings after llama.cpp v0.5.0, src/llama-sampler.cpp, with its default min_keep of 0.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]
Indices: TypeAlias = NDArray[np.intp]


def biased(logits: Floats, ids: Indices, bias: Floats) -> Floats:
    """A copy with `bias` added to the logits of `ids`."""
    logits = logits.copy()
    logits[ids] += bias
    return logits


def penalised(
    logits: Floats,
    ids: Indices,
    counts: Floats,
    *,
    repeat: float,
    presence: float,
    frequency: float,
) -> Floats:
    """A copy with the penalties on `ids`, which the window holds `counts` times each (≥ 1).

    Dividing a negative logit would make its token likelier, so it is multiplied instead.
    """
    logits = logits.copy()
    values = logits[ids]
    with np.errstate(over="ignore"):  # a logit near float32's lowest becomes -inf: never chosen
        values = np.where(values <= 0, values * np.float32(repeat), values / np.float32(repeat))
        logits[ids] = values - (counts * np.float32(frequency) + np.float32(presence))
    return logits


def top_k(scores: Floats, k: int) -> Indices:
    """The k largest, k ≥ 1."""
    if k >= scores.size:
        return np.arange(scores.size)
    contenders = _contenders(scores, k)
    values = scores[contenders]
    if values.size == k:
        return contenders
    kth = np.partition(values, values.size - k)[values.size - k]
    keep = values > kth
    keep[np.flatnonzero(values == kth)[: k - np.count_nonzero(keep)]] = True
    kept: Indices = contenders[keep]
    return kept


def typical_p(logits: Floats, p: float) -> Indices:
    """Those whose information -log p is nearest to the entropy, until their mass exceeds `p`.

    Locally typical sampling, Meister et al. 2022, arXiv:2202.00666. No logit may be -inf.
    """
    weights, total = _weights(logits)
    information = np.float32(np.log(total)) + (logits.max() - logits)
    entropy = np.dot(weights, information) / np.float32(total)
    nearness = -np.abs(information - entropy)
    return top_k(nearness, _count_to(nearness, weights, np.float32(total * p), exceed=True))


def top_p(logits: Floats, p: float) -> Indices:
    """The likeliest, up to and with the one that brings their mass to `p`."""
    weights, total = _weights(logits)
    return top_k(logits, _count_to(logits, weights, np.float32(total * p), exceed=False))


def min_p(logits: Floats, p: float) -> Indices:
    """Those at least `p` times as likely as the likeliest, 0 < p ≤ 1."""
    return np.flatnonzero(logits >= logits.max() + np.float32(np.log(p)))


def probabilities(logits: Floats, temperature: float) -> NDArray[np.float64]:
    """Their softmax at a temperature above 0; sums to 1."""
    with np.errstate(over="ignore"):  # -inf is right: such a token has no chance
        scaled = (logits - logits.max()) / np.float32(temperature)
    weights: NDArray[np.float64] = np.exp(scaled).astype(np.float64)
    weights /= weights.sum()
    return weights


def _weights(logits: Floats) -> tuple[Floats, float]:
    weights = np.exp(logits - logits.max())
    return weights, float(weights.sum(dtype=np.float64))


def _count_to(scores: Floats, weights: Floats, mass: np.float32, *, exceed: bool) -> int:
    """How many of the best scores it takes until their weights sum to `mass`, or exceed it.

    The sums are rounded to float32, the logits' own precision, so that ten tokens of a tenth each
    reach 0.9 with nine.
    """
    size = min(256, scores.size)
    while True:
        best = _contenders(scores, size)
        order = best[np.argsort(scores[best])[::-1]]
        sums = weights[order].astype(np.float64).cumsum().astype(np.float32)
        count = int(np.searchsorted(sums, mass, side="right" if exceed else "left")) + 1
        if count <= best.size:
            return count
        if best.size == scores.size:
            return best.size
        size = min(16 * size, scores.size)


def _contenders(scores: Floats, k: int) -> Indices:
    """Ascending positions of at least the k largest, everything equal to the k-th included.

    The vector is folded into columns. The k-th largest column maximum cannot exceed the
    k-th largest score, and the pass for the maxima costs a tenth of a partition of everything.
    """
    rows = min(64, scores.size // (4 * k))
    if rows > 1:
        columns = scores.size // rows
        scanned = scores[: rows * columns].reshape(rows, columns).max(axis=0)
    elif k < scores.size:
        scanned = scores
    else:
        return np.arange(scores.size)
    bound = np.partition(scanned, scanned.size - k)[scanned.size - k]
    return np.flatnonzero(scores >= bound)
