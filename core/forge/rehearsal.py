"""A miniature of the model, computed as a reply would be: before there is one, and while there is.

Where kernels are fused, or an executable decodes in a way of its own, known answers of single nodes
tell little. Here a prompt comes in two runs, tokens one by one, then by `decode`, and at last other
ones after some were forgotten; what comes out is compared with the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forge.backend import Backend, Progress
from forge.errors import BackendWrong
from forge.executable import Rows
from forge.expected import ROUNDINGS, Expected, distance
from forge.miniature import Miniature
from forge.sampling import Sampler, SamplingParams

Array = NDArray[Any]

_CHANCE = 8
"""Three standard deviations of a single error, squared, are 9 times what is usual."""
_FIRST, _PROMPT, _ONES, _DECODED = 5, 16, 2, 12
"""Tokens of the first run, of the whole prompt, one by one, and by decode."""
_KEPT, _OTHERS = 20, 6
"""Tokens that are kept, and that come then."""
_TOKENS = _PROMPT + _ONES + _DECODED + 1 + _OTHERS


def rehearse(
    backend: Backend, small: Miniature, progress: Progress, beat: Callable[[], None]
) -> float:
    """The worst error of a run; BackendWrong says after what it was too large.

    `progress` hears of what the backend compiles, `beat` of each run and token.
    """
    rehearsal = Rehearsal(backend, small, progress)
    try:
        return rehearsal.whole(beat)
    finally:
        rehearsal.close()


class _Listening(Sampler):
    """Takes the likeliest, and notes of what: positions, ids and logits."""

    def __init__(self, history: Sequence[int]) -> None:
        super().__init__(SamplingParams(temperature=0), history)
        self.heard: list[tuple[int, Any, Array]] = []
        self._ids: Any = slice(None)

    def sample(self, logits: ArrayLike, position: int) -> int:
        """As any does."""
        self.heard.append((position, self._ids, np.array(logits)))
        return super().sample(logits, position)

    def sample_from(self, ids: NDArray[np.integer[Any]], logits: ArrayLike, position: int) -> int:
        """As any does."""
        self._ids = np.array(ids)
        try:
            return super().sample_from(ids, logits, position)
        finally:
            self._ids = slice(None)


class Rehearsal:
    """Owns the compiled miniature and the place in the play: after the last part comes the first.

    `rewinds` says whether the backend could forget one token and no more.
    """

    def __init__(self, backend: Backend, small: Miniature, progress: Progress) -> None:
        self._device = backend.device.name
        self._expected = Expected(small, backend.supports, _TOKENS, _PROMPT + _ONES)
        self._executable = backend.compile(self._expected.graph, small.weights, progress)
        self._beat: Callable[[], None] = lambda: None
        self._parts: Iterator[tuple[str, float]] = iter(())
        self._before = ""
        self.rewinds = False

    def whole(self, beat: Callable[[], None]) -> float:
        """All parts once; the worst error, or BackendWrong that says after what it was too large.

        `beat` hears of each run and token.
        """
        self._beat, self._parts = beat, self._play()
        worst = 0.0
        while (error := self._next()) is not None:
            worst = max(worst, error)
        self._beat = lambda: None
        self._before = ", and did so rightly when the model was loaded"
        self._expected.release()
        return worst

    def step(self) -> None:
        """The next part, of a prompt's length at most; BackendWrong as `whole`."""
        if self._next() is None:
            self._parts = self._play()
            self._next()

    def close(self) -> None:
        """Give back what the device holds for it."""
        self._executable.close()

    def _next(self) -> float | None:
        when, error = next(self._parts, ("", None))
        if error is not None and not error <= self._expected.bound:
            raise BackendWrong(
                f"{self._device} computes the model in small wrongly {when}: "
                f"error {error:.2g}, bound {self._expected.bound:.2g}{self._before}"
            )
        return error

    def _play(self) -> Iterator[tuple[str, float]]:
        """Each part's error, after it."""
        expected, given = self._expected, self._expected.given
        truth = expected.logits(given[: _PROMPT + _ONES])
        self._executable.keep(0, 0)
        self._run(given, 0, _FIRST, "none")
        found = self._run(given, _FIRST, _PROMPT, "all")
        yield "after a prompt", distance(found, truth[_FIRST:_PROMPT])
        for at in range(_PROMPT, _PROMPT + _ONES):
            found = self._run(given, at, at + 1, "all")
            yield "token by token", distance(found, truth[at : at + 1])
        end = _PROMPT + _ONES
        if expected.speaks:
            given = given.copy()
            yield from self._decoded(given, end)
            end += _DECODED + 1
        self.rewinds = self._executable.keep(0, end - 1) == end - 1
        kept = self._executable.keep(0, min(_KEPT, end - 1))
        other = np.concatenate([given[:kept], given[-_OTHERS:]])
        found = self._run(other, kept, len(other), "all")
        yield "after it forgot", distance(found, expected.logits(other)[kept:])

    def _decoded(self, given: Array, start: int) -> Iterator[tuple[str, float]]:
        """As `decode` goes, which goes into `given`; then whether the next token finds it."""
        sampler = _Listening(given[: start + 1].tolist())
        made: list[int] = []
        for token in self._executable.decode(int(given[start]), start, _DECODED, sampler):
            made.append(token)
            self._beat()
            if len(made) > _DECODED:
                break
        if len(made) != _DECODED or not 0 <= min(made) <= max(made) < self._expected.known:
            yield "in decode", math.inf
            return
        stop = start + _DECODED
        given[start + 1 : stop + 1] = made
        truth = self._expected.logits(given[: stop + 1])[start:]
        rows = truth[:-1]
        short = rows.max(axis=-1) - rows[np.arange(_DECODED), made]
        errors = [
            np.square(heard - rows[position - start - 1, ids])
            if start < position <= stop
            else np.full(1, math.inf)
            for position, ids, heard in sampler.heard
        ]
        # Where a sampler hears of one logit a token, one error is no mean: a few sizes are chance.
        worst = [error.mean() / (1 + _CHANCE / error.size) for error in errors]
        worst += [np.mean([error.mean() for error in errors])] if errors else []
        worst.append(np.square(short / ROUNDINGS).max())
        yield "in decode", float(max(worst) / np.square(rows).mean())
        found = self._run(given, stop, stop + 1, "all")
        yield "after decode", distance(found, truth[-1:])

    def _run(self, given: Array, start: int, stop: int, rows: Rows) -> Array:
        """Tokens start..stop in runs that the executable takes."""
        graph, parts = self._expected.graph, []
        for at in range(start, stop, self._executable.chunk):
            part = given[at : min(at + self._executable.chunk, stop)]
            positions = np.arange(at, at + len(part), dtype=np.int32)
            inputs = {self._expected.name: part}
            out = self._executable.run(inputs, positions, np.zeros_like(positions), rows)
            parts.append(out[graph.outputs[0]])
            self._beat()
        return np.concatenate(parts)
