"""A soak: the same few replies again and again for some seconds, none of them different."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from forge.engine import Engine
from forge.errors import BackendError
from forge.events import Done
from forge.perplexity import perplexity
from forge.sampling import SamplingParams

PROMPTS = (1, 24, 160)
"""Tokens: what goes token by token, in a part of a chunk, and in much of one."""
REPLY = 32
"""Tokens of a reply."""
PASSAGE = (
    "The mill stood where the river left the hills. In spring the water came down brown and loud, "
    "and the wheel turned so fast that nobody could hear the stones; in autumn it hardly moved, "
    "and the miller sat on the wall and counted the carts that went by to the town. He knew each "
    "of them by its sound. When his daughter asked him what he would do if the river stayed away "
    "one year, he said that he would walk up the valley and ask it for its reasons, as one does "
    "with a neighbour. She laughed, but in the dry year she went with him."
)
"""Scored on the backend and on the floor."""
_LONGER = 6
APART = 0.02
"""Of the two logarithms of perplexity: int8 activations make a tenth of that."""


@dataclass(frozen=True, slots=True)
class Soak:
    """What came of it. Rates are in tokens a second.

    `differing` counts replies that were not the first one of their prompt once more: greedy replies
    of one backend are. `perplexity` and `floor_perplexity` are of one short text, 0 where it was
    not scored.
    """

    model: str
    replies: int = 0
    tokens: int = 0
    seconds: float = 0.0
    differing: int = 0
    decode_tok_s: float = 0.0
    slowest_tok_s: float = 0.0
    perplexity: float = 0.0
    floor_perplexity: float = 0.0
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether every reply came, came the same, and scored like the floor's."""
        return not self.detail and self.replies > 0 and not self.differing and self.agrees

    @property
    def agrees(self) -> bool:
        """Whether the scores lie together, where both are known."""
        if not (self.perplexity and self.floor_perplexity):
            return True
        return abs(math.log(self.perplexity / self.floor_perplexity)) <= APART


def soak(
    engine: Engine,
    seconds: float,
    progress: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Soak:
    """Greedy replies to prompts of several lengths, from an empty cache, until the time is over.

    Each prompt is answered at least twice, if that takes no more than six times as long and a
    minute. A failure of the backend ends it and is its detail.
    """
    size, started = engine.tokenizer.size, clock()
    first: dict[int, tuple[int, ...]] = {}
    rates: list[float] = []
    replies = tokens = differing = 0
    detail = ""
    lengths = [n for n in PROMPTS if n + REPLY < engine.context] or [1]
    longest = _LONGER * seconds + 60
    while (took := clock() - started) < seconds or (replies < 2 * len(lengths) and took < longest):
        length = lengths[replies % len(lengths)]
        try:
            done = _reply(engine, [(i * 7919 + 11) % size for i in range(length)])
        except BackendError as error:
            detail = str(error)
            break
        replies, tokens = replies + 1, tokens + len(done.tokens)
        differing += first.setdefault(length, done.tokens) != done.tokens
        if done.timings.decode_tok_s:
            rates.append(done.timings.decode_tok_s)
        progress(f"soak: {replies} replies, {tokens} tokens")
    return Soak(
        engine.model.name,
        replies=replies,
        tokens=tokens,
        seconds=round(clock() - started, 3),
        differing=differing,
        decode_tok_s=round(statistics.median(rates), 2) if rates else 0.0,
        slowest_tok_s=round(min(rates), 2) if rates else 0.0,
        detail=detail,
    )


def score(engine: Engine) -> float:
    """The perplexity of the passage."""
    tokens = engine.tokenizer.encode(PASSAGE) or list(range(2))
    return perplexity(engine.logit_blocks, tokens[: engine.context]).perplexity


def _reply(engine: Engine, tokens: Sequence[int]) -> Done:
    greedy = SamplingParams(temperature=0)
    room = min(REPLY, engine.context - len(tokens))
    for event in engine.generate(tokens, greedy, max_tokens=room, stop_ids=(), reuse=False):
        if isinstance(event, Done):
            return event
    raise BackendError("the reply ended without a word")
