"""The library's front door: a model, a backend that answers, and replies as events."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forge.errors import BackendWrong, ModelError, NoBackend, UsageError
from forge.events import Done, Event, Fallback, Ready, Text, Timings, Token
from forge.gguf import GGUFFile, open_gguf
from forge.plugins import Plugins, missing
from forge.runner import WorkerOptions
from forge.sampling import SamplingParams, StopMatcher
from forge.spec import BackendSpec
from forge.store import resolve
from forge.supervisor import Supervisor, placements
from forge.tokenizer import StreamDecoder, Tokenizer

if TYPE_CHECKING:
    from typing import Self

    from forge.session import Session
    from forge.template import ChatTemplate


class Engine:
    """Owns one loaded model. `open` waits until a backend answers; leaving a `with` ends it.

    One reply at a time. Only `cancel` may be called from another thread or a signal handler.
    """

    def __init__(
        self,
        model: str | Path | None = None,
        *,
        backend: str | BackendSpec | None = None,
        device: str | None = None,
        threads: int | None = None,
        context: int | None = None,
        strict: bool = False,
        patience: float = 1.0,
        fallback_to: Sequence[BackendSpec] | None = None,
    ) -> None:
        if threads is not None and not 1 <= threads <= _MOST_THREADS:
            raise UsageError(f"{threads} threads: give 1 to {_MOST_THREADS}")
        if context is not None and not 1 <= context <= _MOST:
            raise UsageError(f"a context of {context} tokens: give 1 to {_MOST}")
        if not patience > 0:
            raise UsageError(f"a patience of {patience}: give a positive factor")
        if device is not None and not _is_unicode(device):
            raise UsageError(f"there is no device {device!r}")
        self._moved: list[Fallback] = []  # while loading, for the next reply's Done
        self.model = resolve(None if model is None else str(model))
        if not _is_unicode(str(self.model.absolute())):
            raise ModelError(f"{self.model}: the path is not UTF-8: rename the file or its folder")
        self.file: GGUFFile = open_gguf(self.model)
        options = WorkerOptions(str(self.model.absolute()), context, device, threads, patience)
        self._supervisor = Supervisor(_order(backend, fallback_to), options, strict=strict)

    @classmethod
    def open(cls, model: str | Path | None = None, **choices: Any) -> Self:
        """An engine whose model is loaded; `choices` as for the constructor.

        Raises ModelError, UsageError, or NoBackend when every backend failed.
        """
        engine = cls(model, **choices)
        try:
            for _ in engine.load():
                pass
        except BaseException:
            engine.close()
            raise
        return engine

    def load(self) -> Iterator[Event]:
        """Load the model, telling how it goes; the tokenizer is made while the worker loads."""
        self._supervisor.spawn()
        self._check_vocabulary()
        for event in self._supervisor.load():
            if isinstance(event, Fallback):
                self._moved.append(event)
            yield event

    def _check_vocabulary(self) -> None:
        """Tokens without a row cannot be read, rows without a token cannot be shown."""
        size, table = self.tokenizer.size, self.file.tensors.get("token_embd.weight")
        if not size:
            raise ModelError(f"{self.model}: the vocabulary is empty")
        if table is not None and table.shape[0] != size:
            raise ModelError(
                f"{self.model}: the vocabulary has {size} tokens, and token_embd.weight "
                f"has {table.shape[0]} rows"
            )

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Text to ids and back."""
        return Tokenizer.from_gguf(self.file)

    @cached_property
    def template(self) -> ChatTemplate:
        """The model's chat template; TextError when it has none."""
        from forge.template import ChatTemplate

        return ChatTemplate.from_gguf(self.file)

    @property
    def ready(self) -> Ready:
        """What answers; NoBackend before `load` and after a failure."""
        found = self._supervisor.ready
        if found is None:
            raise NoBackend("no backend is ready: load the model first")
        return found

    @property
    def is_ready(self) -> bool:
        """Whether a backend holds the model."""
        return self._supervisor.ready is not None

    @property
    def backend(self) -> str:
        """The name of the backend that answers."""
        return self.ready.backend

    @property
    def device(self) -> str:
        """The device that answers."""
        return self.ready.device

    @property
    def context(self) -> int:
        """How many tokens the context holds."""
        return self.ready.context

    @property
    def worker_pid(self) -> int | None:
        """The process id of the worker that holds the model."""
        return self._supervisor.runner.pid if self._supervisor.runner else None

    def chat(self, system: str | None = None) -> Session:
        """A conversation, with a system prompt if given."""
        from forge.session import Session

        return Session(self, system)

    def generate(
        self,
        tokens: Sequence[int],
        params: SamplingParams | None = None,
        *,
        max_tokens: int | None = None,
        stop: Sequence[str] = (),
        stop_ids: Sequence[int] | None = None,
        reuse: bool = True,
    ) -> Generator[Event, None, None]:
        """Continue `tokens`, used as they are: Prefill, Token, Text and Fallback events, then Done.

        max_tokens: None goes on until the model ends its reply or the context is full.
        stop: strings that end the reply; they are not part of its text.
        stop_ids: tokens that end the reply, by default the model's own; not part of it either.
        reuse: False computes the prompt anew, whatever the cache holds.
        """
        if not tokens:
            raise UsageError("the prompt is empty: give at least one token")
        if max_tokens is not None and max_tokens < 1:
            raise UsageError(f"a reply of {max_tokens} tokens: ask for at least 1")
        size = self.tokenizer.size
        if not all(0 <= token < size for token in tokens):
            wrong = next(token for token in tokens if not 0 <= token < size)
            raise UsageError(f"token {wrong} is not in the vocabulary, 0 to {size - 1}")
        yield from self._generate(
            list(tokens),
            (params or SamplingParams()).resolved(),
            _MOST if max_tokens is None else min(max_tokens, _MOST),
            StopMatcher(stop) if stop else None,
            sorted(self.tokenizer.stop_ids if stop_ids is None else stop_ids),
            reuse,
        )

    def _generate(
        self,
        tokens: list[int],
        params: SamplingParams,
        count: int,
        matcher: StopMatcher | None,
        stop_ids: Sequence[int],
        reuse: bool,
    ) -> Generator[Event, None, None]:
        reply = _Reply(self.tokenizer.decoder() if self.tokenizer.has_text else _Ids(), matcher)
        started = time.monotonic()
        first: float | None = None
        fallbacks, self._moved = self._moved, []
        events = self._supervisor.generate(tokens, params, count, stop_ids, reuse=reuse)
        try:
            while True:
                try:
                    event = next(events)
                except StopIteration as end:
                    reason = end.value
                    break
                yield event
                if isinstance(event, Fallback):
                    fallbacks.append(event)
                if isinstance(event, Token):
                    first = first or time.monotonic()
                    if text := reply.add(event.id):
                        yield Text(text)
                    if reply.stopped:
                        reason = "stop"
                        break
        finally:
            events.close()
        if text := reply.finish():
            yield Text(text)
        ready = self._supervisor.ready
        yield Done(
            tokens=tuple(reply.tokens),
            prompt_tokens=len(tokens),
            finish_reason=reason,
            backend=ready.backend if ready else "",
            device=ready.device if ready else "",
            fallbacks=tuple(fallbacks),
            timings=self._timings(started, first),
            text=reply.text,
        )

    def _timings(self, started: float, first: float | None) -> Timings:
        runner = self._supervisor.runner
        if runner is None or runner.ready_info is None:
            return Timings(first_token_s=first and first - started)
        pace = runner.pace
        return Timings(
            load_s=runner.ready_info.load_s,
            first_token_s=first and first - started,
            prefill_tok_s=pace.first and pace.prefilled / max(1e-9, pace.first - pace.asked),
            decode_tok_s=(
                pace.decoded / max(1e-9, pace.last - pace.first)
                if pace.decoded and pace.first and pace.last
                else None
            ),
        )

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """The logits after each of `tokens`, f32 [n, vocabulary]; no BOS is added.

        Never answered by another backend than the one that is ready: BackendError instead, and
        BackendWrong when a number is not finite.
        """
        return np.concatenate(list(self.logit_blocks(tokens)))

    def logit_blocks(self, tokens: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """The same in blocks of rows, for texts whose logits would not fit in memory."""
        if not tokens:
            raise UsageError("logits of no tokens: give at least one")
        size = self.tokenizer.size
        if not all(0 <= token < size for token in tokens):
            raise UsageError(f"a token is not in the vocabulary, 0 to {size - 1}")
        return map(self._finite, self._supervisor.logits(tokens))

    def _finite(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        if not np.isfinite(block).all():
            raise BackendWrong(f"{self.backend}: the logits of {self.model} are not finite")
        return block

    def cancel(self) -> bool:
        """Stop the reply in progress: it ends with a Done whose reason is `cancelled`.

        False if nothing is in progress, or it was told to stop already.
        """
        return self._supervisor.cancel()

    def close(self) -> None:
        """End the worker and give the device back; called once more does nothing."""
        self._supervisor.close()
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


_MOST = 2**31 - 1
"""Tokens: no limit but the context's."""
_MOST_THREADS = 2**16


class _Ids:
    """The text of a model without a vocabulary: its ids, as --tokens takes them."""

    def __init__(self) -> None:
        self._comma = ""

    def push(self, token: int) -> str:
        text, self._comma = f"{self._comma}{token}", ","
        return text

    def finish(self) -> str:
        return ""


class _Reply:
    """A reply's tokens and the text they make, up to a stop string."""

    def __init__(self, decoder: StreamDecoder | _Ids, matcher: StopMatcher | None) -> None:
        self._decoder, self._matcher = decoder, matcher
        self.tokens: list[int] = []
        self.text = ""
        self.stopped = False

    def add(self, token: int) -> str:
        self.tokens.append(token)
        return self._pass_on(self._decoder.push(token))

    def finish(self) -> str:
        if self.stopped:
            return ""
        rest = self._pass_on(self._decoder.finish())
        if self._matcher and not self.stopped:
            held = self._matcher.finish()
            self.text += held
            rest += held
        return rest

    def _pass_on(self, piece: str) -> str:
        if self._matcher and piece:
            piece, self.stopped = self._matcher.push(piece)
        self.text += piece
        return piece


def _is_unicode(text: str) -> bool:
    """Whether the worker can be told: bytes that are no UTF-8 come as lone surrogates."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _order(
    backend: str | BackendSpec | None, fallback_to: Sequence[BackendSpec] | None
) -> list[BackendSpec]:
    """The backends to try, in order."""
    plugins = Plugins()
    known = plugins.backends() if fallback_to is None else list(fallback_to)
    absent: Mapping[str, str] = {spec.name: missing(spec) for spec in known}
    if isinstance(backend, BackendSpec):
        return [backend, *placements([s for s in known if s.name != backend.name], None, absent)]
    if backend in (None, "auto"):
        return placements(known, None, absent)
    return placements(known, plugins.backend(str(backend)), absent)
