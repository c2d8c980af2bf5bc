"""A loaded model: which tokens its cache holds, and the two things it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from forge.backend import Array, Executable, Rows, row_indices
from forge.errors import BackendWrong, ContextOverflow, UsageError
from forge.events import FinishReason
from forge.messages import BLOCK_BYTES
from forge.sampling import Sampler

_FRUGAL_CHUNK = 32
"""Tokens, where a device has run out of memory: what a chunk takes grows with it."""


class WatchedSampler(Sampler):
    """Refuses logits that are all alike: a device that stopped writing leaves such a row."""

    def sample(self, logits: ArrayLike, position: int) -> int:
        """The token at `position`; BackendWrong for NaN, infinity or a constant."""
        row = np.asarray(logits)
        if row.size > 1 and row[0] == row[-1] and (row == row[0]).all():
            raise BackendWrong(
                f"the backend computed {row[0]} as every one of its {row.size} logits"
            )
        return super().sample(row, position)


@dataclass(slots=True)
class LoadedModel:
    """Owns the executable and knows the tokens whose keys and values are in its cache."""

    executable: Executable
    context: int
    notes: list[str]
    cached: list[int] = field(default_factory=list)
    frugal: bool = False

    @property
    def vocabulary(self) -> int:
        """Columns of the logits."""
        shape = self.executable.graph.validate()[self.executable.outputs[0]].shape
        return int(shape[-1])

    def reuse(self, tokens: Sequence[int]) -> int:
        """Keep what the cache shares with `tokens`; at least the last one is computed again."""
        shared = _shared(self.cached, tokens[:-1])
        kept = self.executable.keep(0, shared)
        if not 0 <= kept <= shared:
            raise BackendWrong(f"the backend kept {kept} tokens where it was told to keep {shared}")
        self.cached = self.cached[:kept]
        return kept

    def forget(self) -> None:
        """Empty the cache."""
        self.cached = self.cached[: self.executable.keep(0, 0)]

    def prefill(self, tokens: Sequence[int], rows: Rows = "last") -> Iterator[tuple[int, Array]]:
        """Compute `tokens` past the cache in chunks; yields (tokens done, the rows' outputs).

        With "last" only the last chunk computes outputs.
        """
        chunk = self._chunk(rows)
        stop = len(tokens)
        while (start := len(self.cached)) < stop:
            end = min(start + chunk, stop)
            wanted: Rows = rows if rows == "all" or end == stop else "none"
            step = self._run(tokens[start:end], start, wanted)
            self.cached += tokens[start:end]
            yield end, step

    def _chunk(self, rows: Rows) -> int:
        most = BLOCK_BYTES // (4 * self.vocabulary) if rows == "all" else self.executable.chunk
        if self.frugal:
            most = min(most, _FRUGAL_CHUNK)
        return max(1, min(most, self.executable.chunk))

    def _run(self, tokens: Sequence[int], start: int, rows: Rows) -> Array:
        (name,), (output,) = self.executable.inputs, self.executable.outputs
        ids = np.array(tokens, np.int32)
        positions = np.arange(start, start + len(ids), dtype=np.int32)
        out = self.executable.run({name: ids}, positions, np.zeros_like(ids), rows)[output]
        wanted = len(row_indices(rows, len(ids)))
        if len(out) != wanted:
            raise BackendWrong(f"the backend returned {len(out)} rows of logits, not {wanted}")
        return out

    def decode(
        self, tokens: Sequence[int], first: int, count: int, sampler: Sampler
    ) -> Iterator[int]:
        """The tokens after `first`, which follows `tokens`; the cache's record keeps pace."""
        last, made, vocabulary = first, 0, self.vocabulary
        for token in self.executable.decode(first, len(tokens), count, sampler):
            if not 0 <= token < vocabulary:
                raise BackendWrong(
                    f"the backend decoded token {token}, and the vocabulary has {vocabulary}"
                )
            self.cached.append(last)
            last = token
            made += 1
            yield token
        if made < count:
            raise BackendWrong(f"the backend decoded {made} tokens of {count} and stopped")

    def check_room(self, tokens: Sequence[int], *, reply: int) -> None:
        """ContextOverflow unless `tokens` and `reply` more fit; ids must be in the vocabulary."""
        if len(tokens) + reply > self.context:
            more = " leave no room for a reply:" if reply else " do not fit:"
            raise ContextOverflow(
                f"{len(tokens)} tokens{more} the context holds {self.context} tokens; "
                f"shorten the prompt, or ask for a larger context with -c"
            )
        if tokens and not 0 <= min(tokens) <= max(tokens) < self.vocabulary:
            raise UsageError(f"a token is not in the vocabulary, 0 to {self.vocabulary - 1}")

    def generate(
        self,
        tokens: Sequence[int],
        count: int,
        stops: Sequence[int],
        sampler: Sampler,
        beat: Callable[[int], None],
    ) -> Generator[int | FinishReason, None, None]:
        """The reply's tokens, then why it ended. Stop tokens are not part of it."""
        logits = np.empty((0, 0), np.float32)
        for done, rows in self.prefill(tokens):
            logits = rows
            beat(done)
        if not len(logits):
            raise BackendWrong("the backend returned no logits")
        room = self.context - len(tokens)
        most = min(count, room)
        token = sampler.sample(logits[0], len(tokens))
        sampler.accept(token)
        following = self.decode(tokens, token, most - 1, sampler)
        for made in range(1, most + 1):
            if token in stops:
                yield "stop"
                return
            yield token
            if made < most:
                token = next(following)
        yield "length" if count <= room else "context"


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    for count, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return count
    return min(len(a), len(b))
