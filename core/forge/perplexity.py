"""Perplexity of a text, with llama.cpp's windows so that figures compare."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forge.errors import TextError

WINDOW = 512
"""llama.cpp's default, tokens."""


@dataclass(frozen=True, slots=True)
class Perplexity:
    """exp of the mean negative log-likelihood [nats a token], and its standard error."""

    perplexity: float
    standard_error: float
    scored: int
    window: int


def perplexity(
    logit_blocks: Callable[[Sequence[int]], Iterator[NDArray[Any]]],
    tokens: Sequence[int],
    window: int = WINDOW,
    bos: int | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Perplexity:
    """Score the second half of every full window, so that each token has context.

    A text shorter than a window is one window. `bos`, if given, takes the place of each window's
    first token, as the model was trained to expect.
    """
    window = min(window, len(tokens))
    if window < 2:
        raise TextError("the text is too short to be scored: it needs at least 2 tokens")
    losses: list[NDArray[np.float64]] = []
    starts = range(0, len(tokens) - window + 1, window)
    for number, start in enumerate(starts, 1):
        part = list(tokens[start : start + window])
        if bos is not None:
            part[0] = bos
        losses.append(_losses(logit_blocks(part), part)[window // 2 :])
        progress(f"window {number} of {len(starts)}: {math.exp(np.concatenate(losses).mean()):.4f}")
    every = np.concatenate(losses)
    value = math.exp(every.mean())
    spread = float(every.std(ddof=1)) if len(every) > 1 else 0.0
    return Perplexity(value, value * spread / math.sqrt(len(every)), len(every), window)


def _losses(blocks: Iterator[NDArray[Any]], tokens: list[int]) -> NDArray[np.float64]:
    """-log p(token i + 1 | tokens 0..i) for every i that has a next token."""
    out: list[NDArray[np.float64]] = []
    row = 0
    for block in blocks:
        targets = np.array(tokens[row + 1 : row + 1 + len(block)], np.intp)
        row += len(block)
        logits = block[: len(targets)].astype(np.float64)
        top = logits.max(axis=1)
        total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        out.append(total - logits[np.arange(len(targets)), targets])
    return np.concatenate(out)
