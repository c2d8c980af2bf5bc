"""The sampler: the chain of filters, and the draw."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forge.errors import BackendWrong, UsageError
from forge.sampling import filters
from forge.sampling.filters import Floats, Indices
from forge.sampling.params import SamplingParams
from forge.sampling.random import uniform


class Sampler:
    """Chooses token after token; its only state is the window of tokens that the penalties see.

    `history` is what precedes the first token drawn (the prompt, and on a resumed reply its tokens
    so far). Usable alone: `Sampler(SamplingParams(seed=1)).sample(logits, position=0)`.
    """

    def __init__(self, params: SamplingParams, history: Sequence[int] = ()) -> None:
        self.params = params.resolved()
        """The parameters in use, with the seed."""
        self._bias_ids = np.array(list(params.logit_bias), dtype=np.intp)
        self._biases = np.array(list(params.logit_bias.values()), dtype=np.float32)
        self._window: deque[int] = deque()
        self._counts: Counter[int] = Counter()
        window = params.penalty_window
        for token in history[-window:] if window > 0 else history:
            self.accept(token)

    def sample(self, logits: ArrayLike, position: int) -> int:
        """The token at `position`, its index in the whole sequence; changes nothing.

        `logits` is float32 [n_vocab]. NaN, +inf or nothing finite raises BackendWrong.
        """
        if self.params.greedy:
            return int(self._adjusted(logits).argmax())
        if position < 0:
            raise UsageError(f"position is {position}; allowed is 0 or more")
        ids, probabilities = self.probabilities(logits)
        return int(ids[draw(probabilities, uniform(self._seed, position))])

    @property
    def candidates(self) -> int:
        """How many of the largest logits decide every draw; 0: all of them."""
        if self._bias_ids.size or self.params.penalises:
            return 0
        return 1 if self.params.greedy else self.params.top_k

    def sample_from(self, ids: NDArray[np.integer[Any]], logits: ArrayLike, position: int) -> int:
        """What `sample` draws from the whole row, given its `candidates` largest logits alone.

        `ids` are their token ids, ascending; for a backend that looks for them on its device.
        """
        if not 0 < self.candidates <= len(ids):
            raise UsageError(f"{len(ids)} logits do not decide: give {self.candidates or 'all'}")
        return int(ids[self.sample(logits, position)])

    def accept(self, token: int) -> None:
        """Tell which token follows, so that the penalties see it."""
        if not self.params.penalises:
            return
        self._window.append(token)
        self._counts[token] += 1
        if len(self._window) > self.params.penalty_window > 0:
            oldest = self._window.popleft()
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]

    def probabilities(self, logits: ArrayLike) -> tuple[Indices, NDArray[np.float64]]:
        """The token ids that the chain keeps, ascending, and their probabilities."""
        params = self.params
        values = self._adjusted(logits)
        if params.greedy:
            return np.array([values.argmax()]), np.ones(1)
        ids = filters.top_k(values, params.top_k or values.size)
        values = values[ids]
        chain: list[tuple[bool, Callable[[Floats], Indices]]] = [
            (True, lambda kept: np.flatnonzero(kept > -np.inf)),
            (params.typical_p < 1.0, lambda kept: filters.typical_p(kept, params.typical_p)),
            (params.top_p < 1.0, lambda kept: filters.top_p(kept, params.top_p)),
            (params.min_p > 0.0, lambda kept: filters.min_p(kept, params.min_p)),
        ]
        for active, kept_by in chain:
            if active:
                kept = kept_by(values)
                if kept.size < ids.size:
                    ids, values = ids[kept], values[kept]
        return ids, filters.probabilities(values, params.temperature)

    @property
    def _seed(self) -> int:
        return self.params.seed or 0  # never None: __init__ resolved it

    def _adjusted(self, logits: ArrayLike) -> Floats:
        """The logits, checked, with bias and penalties; the caller's array stays as it is."""
        values: Floats = np.asarray(logits, dtype=np.float32)
        if values.ndim != 1 or not values.size:
            raise UsageError(
                f"logits have shape {values.shape}; the sampler takes one row [n_vocab]"
            )
        largest = float(values.max())  # NaN if any is NaN
        if not -np.inf < largest < 1e30:
            what = "-inf as every one" if largest == -np.inf else f"{largest} as one"
            raise BackendWrong(f"the backend computed {what} of its {values.size} logits")
        if self._bias_ids.size:
            if (unknown := int(self._bias_ids.max())) >= values.size:
                raise UsageError(
                    f"logit_bias names token {unknown}; the vocabulary has {values.size} tokens"
                )
            values = filters.biased(values, self._bias_ids, self._biases)
            if values.max() == -np.inf:
                raise UsageError("logit_bias bans every token that the model could say")
        if self._counts:
            values = self._penalised(values)
        return values

    def _penalised(self, values: Floats) -> Floats:
        size, params = len(self._counts), self.params
        ids = np.fromiter(self._counts.keys(), np.intp, size)
        counts = np.fromiter(self._counts.values(), np.float32, size)
        known = ids < values.size  # a prompt may hold ids that the model cannot say
        return filters.penalised(
            values,
            ids[known],
            counts[known],
            repeat=params.repeat_penalty,
            presence=params.presence_penalty,
            frequency=params.frequency_penalty,
        )


def draw(probabilities: NDArray[np.float64], number: float) -> int:
    """The index at which the cumulative probability passes `number`, which lies in [0, 1).

    The candidates come in token-id order, not sorted by probability: two backends whose logits
    differ by rounding then disagree only when the number falls within a hair of a boundary. Sorted,
    two nearly equal tokens could change places and exchange their whole intervals.
    """
    sums = probabilities.cumsum()
    index = int(np.searchsorted(sums, number * sums[-1], side="right"))
    # number * total may round up to the total: then it is the last token with any probability.
    return min(index, int(np.searchsorted(sums, sums[-1], side="left")))
