"""A reply as it grows: its tokens, the text that they make, where it moved, and its pace."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import closing

from forge.events import Event, Fallback, FinishReason, Text, Timings, Token
from forge.runner import Runner
from forge.sampling import StopMatcher
from forge.tokenizer import StreamDecoder, Tokenizer


class Reply:
    """Owns what one request has given so far, up to a stop string."""

    def __init__(self, tokenizer: Tokenizer, stop: StopMatcher | None) -> None:
        self._decoder: StreamDecoder | _Ids
        self._decoder = tokenizer.decoder() if tokenizer.has_text else _Ids()
        self._stop = stop
        self._started = time.monotonic()
        self._first: float | None = None
        self.tokens: list[int] = []
        self.text = ""
        self.fallbacks: list[Fallback] = []
        self.stopped = False

    def follow(
        self, events: Generator[Event, None, FinishReason]
    ) -> Generator[Event, None, FinishReason]:
        """The same events with the text between them; returns why the reply ended."""
        with closing(events):
            while not self.stopped:
                try:
                    event = next(events)
                except StopIteration as end:
                    reason: FinishReason = end.value
                    break
                if isinstance(event, Fallback):
                    self.fallbacks.append(event)
                text = self._add(event.id) if isinstance(event, Token) else ""
                yield event
                if text:
                    yield Text(text)
            else:
                reason = "stop"
        if text := self._finish():
            yield Text(text)
        return reason

    def _add(self, token: int) -> str:
        self._first = self._first or time.monotonic()
        self.tokens.append(token)
        return self._pass_on(self._decoder.push(token))

    def _finish(self) -> str:
        """What the decoder and the search for a stop string have held back."""
        if self.stopped:
            return ""
        rest = self._pass_on(self._decoder.finish())
        if self._stop and not self.stopped:
            held = self._stop.finish()
            self.text += held
            rest += held
        return rest

    def _pass_on(self, piece: str) -> str:
        if self._stop and piece:
            piece, self.stopped = self._stop.push(piece)
        self.text += piece
        return piece

    def timings(self, runner: Runner | None) -> Timings:
        """How fast it was, as measured by the runner that finished it."""
        first = self._first and self._first - self._started
        if runner is None or runner.ready_info is None:
            return Timings(first_token_s=first)
        pace = runner.pace
        return Timings(
            load_s=runner.ready_info.load_s,
            first_token_s=first,
            prefill_tok_s=pace.first and pace.prefilled / max(1e-9, pace.first - pace.asked),
            decode_tok_s=(
                pace.decoded / max(1e-9, pace.last - pace.first)
                if pace.decoded and pace.first and pace.last
                else None
            ),
        )


class _Ids:
    """The text of a model without a vocabulary: its ids, as --tokens takes them."""

    def __init__(self) -> None:
        self._comma = ""

    def push(self, token: int) -> str:
        text, self._comma = f"{self._comma}{token}", ","
        return text

    def finish(self) -> str:
        return ""
