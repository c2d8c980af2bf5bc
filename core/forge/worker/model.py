"""A loaded model: which tokens its cache holds, and the two things it is asked for.

Nothing that a backend says is taken on trust: what it computed, kept and decoded is asked again now
and then (docs/decisions/008).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from forge.backend import Array, Executable, Rows, row_indices
from forge.errors import BackendWrong, ContextOverflow, UsageError
from forge.events import FinishReason
from forge.messages import BLOCK_BYTES
from forge.worker import audit
from forge.worker.standing import StandingCheck
from forge.worker.watched import Glimpse, WatchedSampler

_FRUGAL_CHUNK = 32
"""Tokens, where a device has run out of memory: what a chunk takes grows with it."""
_TAIL = 8
"""So many tokens of a prefix are computed again, where its last row is known, and no more."""


@dataclass(slots=True)
class LoadedModel:
    """Owns the executable and knows the tokens whose keys and values are in its cache."""

    executable: Executable
    context: int
    notes: list[str]
    standing: StandingCheck | None = None
    cached: list[int] = field(default_factory=list)
    frugal: bool = False
    _lossy: bool = field(default=False, init=False)
    """It kept fewer tokens than it did in small."""
    _join: tuple[int, Glimpse] | None = field(default=None, init=False)
    """A number of cached tokens, and of the row that their last one alone computed."""

    @property
    def vocabulary(self) -> int:
        """Columns of the logits."""
        shape = self.executable.graph.validate()[self.executable.outputs[0]].shape
        return int(shape[-1])

    def reuse(self, tokens: Sequence[int]) -> int:
        """Keep what the cache shares with `tokens`; at least the last one is computed again."""
        shared = _shared(self.cached, tokens[:-1])
        if self._join is not None and self._goes_on(tokens, shared, self._join[0] - 1):
            shared = self._join[0] - 1  # its last token is computed again, to compare
        else:
            self._join = None
        return self._keep(shared)

    def _goes_on(self, tokens: Sequence[int], shared: int, last: int) -> bool:
        """Whether `tokens` have that `last` one as well, and not much more of the cache."""
        same = list(tokens[last : last + 1]) == self.cached[last : last + 1]
        return same and last <= shared <= last + _TAIL

    def forget(self) -> None:
        """Empty the cache."""
        self._join = None
        self.cached = self.cached[: self.executable.keep(0, 0)]

    def _keep(self, count: int) -> int:
        kept = self.executable.keep(0, count)
        if not 0 <= kept <= count:
            raise BackendWrong(f"the backend kept {kept} tokens where it was told to keep {count}")
        self.cached = self.cached[:kept]
        return kept

    def prefill(self, tokens: Sequence[int], rows: Rows = "last") -> Iterator[tuple[int, Array]]:
        """Compute `tokens` past the cache in chunks; yields (tokens done, the rows' outputs).

        With "last" only the last chunk computes outputs.
        """
        chunk = self._chunk(rows)
        stop = len(tokens)
        while (start := len(self.cached)) < stop:
            end = min(start + chunk, stop)
            wanted: Rows = rows if rows == "all" or end == stop else "none"
            if joined := self._joined(start):
                wanted = [0, end - start - 1]
            step = self._run(tokens[start:end], start, wanted)
            self.cached += tokens[start:end]
            if joined:
                if joined.distance(step[0]) > audit.CLOSE:
                    (alone,) = self._again(tokens[: start + 1], 1)
                    audit.same(joined, alone)
                    continue
                step = step[1:] if end == stop else step[:0]
            yield end, step

    def _joined(self, start: int) -> Glimpse | None:
        """What a run that begins with the token at `start` has to compute for it."""
        join, self._join = self._join, None
        return join[1] if join and join[0] == start + 1 else None

    def _again(self, tokens: Sequence[int], count: int) -> list[Array]:
        """Forget the last ones of `tokens`, compute each of them alone; their rows."""
        stop = len(tokens)
        self._lossy |= self._keep(stop - count) < stop - count
        for start in range(len(self.cached), stop - count, self.executable.chunk):
            # It keeps fewer than it did in small: the rest was lost and is needed.
            end = min(start + self.executable.chunk, stop - count)
            self._run(tokens[start:end], start, "none")
            self.cached += tokens[start:end]
        rows = []
        for at in range(stop - count, stop):
            rows.append(self._run(tokens[at : at + 1], at, "last")[0])
            self.cached.append(tokens[at])
        return rows

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
        self, tokens: Sequence[int], first: int, count: int, sampler: WatchedSampler
    ) -> Generator[int, None, None]:
        """The tokens after `first`, which follows `tokens`; the cache's record keeps pace."""
        last, made, start = first, 0, len(tokens)
        while made < count:
            following = self.executable.decode(last, start + made, count - made, sampler)
            try:
                for token in following:
                    self._demand_drawn(token, start + made + 1, sampler)
                    self.cached.append(last)
                    last = token
                    made += 1
                    self._look(sampler)
                    yield token
                    if made == count or (self._audits and len(self.cached) % audit.EVERY == 0):
                        break
                else:
                    raise BackendWrong(f"the backend decoded {made} tokens of {count} and stopped")
            finally:
                _close(following)
            if made < count:
                self._audit(last, made, sampler)

    @property
    def _rewinds(self) -> bool:
        """Whether it costs one token's time to compute the last one again."""
        return self.standing is not None and self.standing.rewinds and not self._lossy

    @property
    def _audits(self) -> bool:
        """Whether tokens are decoded in a way of the executable's own, and can be audited."""
        return self._rewinds and type(self.executable).decode is not Executable.decode

    def _audit(self, last: int, made: int, sampler: WatchedSampler) -> None:
        """Compare the last of `made` tokens with what a run computes; remember the row."""
        tokens = self.cached[:]
        limit = audit.bound(self.executable.graph)
        row = audit.audited(
            lambda count: self._again(tokens, count), [*tokens, last], made, sampler, limit
        )
        self._join = len(tokens), Glimpse.of(row)

    def _look(self, sampler: WatchedSampler) -> None:
        """A part of the standing check, if it is time or a row came twice."""
        if self.standing is not None:
            self.standing.if_due()
            if sampler.repeated:
                self.standing.suspect()
        sampler.repeated = False

    def _end(self, last: int, made: int, sampler: WatchedSampler) -> None:
        """A reply of `made` tokens is complete: whether it was right, and what the next one joins.

        Nobody waits for it: the last token is shown.
        """
        if made > 1 and self._audits:
            self._audit(last, made - 1, sampler)
        elif made > 1 and self._rewinds and (heard := sampler.heard(len(self.cached))):
            self._join = len(self.cached), heard
        if self.standing is not None:
            self.standing.now()

    def _demand_drawn(self, token: int, position: int, sampler: WatchedSampler) -> None:
        """It is a token, and the one that the sampler drew if it was asked."""
        if not 0 <= token < self.vocabulary:
            raise BackendWrong(
                f"the backend decoded token {token}, and the vocabulary has {self.vocabulary}"
            )
        if (drawn := sampler.drew(position)) not in (None, token):
            raise BackendWrong(f"the backend decoded token {token} where {drawn} was drawn")

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
        sampler: WatchedSampler,
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
        if self.standing is not None:
            self.standing.now()
        made = 0
        reason: FinishReason = "length" if count <= room else "context"
        with closing(self.decode(tokens, token, most - 1, sampler)) as following:
            for made in range(1, most + 1):
                if token in stops:
                    reason = "stop"
                    break
                yield token
                if made < most:
                    token = next(following)
        self._end(token, made, sampler)
        yield reason


def _close(tokens: Iterator[int]) -> None:
    """End a decode, whose submissions may be ahead of what was taken."""
    if isinstance(tokens, Generator):
        tokens.close()


def _shared(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    for count, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return count
    return min(len(a), len(b))
