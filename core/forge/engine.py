"""The library's front door: a model, a backend that answers, and replies as events."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from forge.ahead import Ahead
from forge.budgets import SECONDS
from forge.errors import BackendWrong, ModelError, NoBackend, UsageError
from forge.events import Done, Event, Fallback, FinishReason, Ready
from forge.gguf import GGUFFile, open_gguf
from forge.health import Health, Watch, not_installed
from forge.order import order
from forge.outlook import outlook
from forge.past import Past
from forge.profile import RunProfile
from forge.reply import Reply
from forge.sampling import SamplingParams, StopMatcher
from forge.spec import BackendSpec
from forge.state import Ledger
from forge.store import resolve
from forge.supervisor import Supervisor
from forge.tokenizer import Tokenizer
from forge.worker_options import MOST_TOKENS, WorkerOptions

if TYPE_CHECKING:
    from typing import Self

    from forge.session import Session
    from forge.template import ChatTemplate


class Engine:
    """Owns one loaded model. `open` waits until a backend answers; leaving a `with` ends it.

    One reply at a time. Only `cancel` may be called from another thread or a signal handler.

    standby: hold a second worker ready on the floor, so that a failure costs no load; it takes the
    model's memory twice. remember: go by what happened here before, and keep what happens now.
    seconds: the floors of time budgets, by phase.
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
        kv_type: str | None = None,
        fallback_to: Sequence[BackendSpec] | None = None,
        ahead: Ahead | None = None,
        standby: bool = False,
        remember: bool = True,
        seconds: Mapping[str, float] = SECONDS,
    ) -> None:
        self._moved: list[Fallback] = []  # while loading, for the next reply's Done
        self.model = resolve(None if model is None else str(model))
        asked = "" if backend in (None, "auto") else getattr(backend, "name", str(backend))
        path = str(self.model.absolute())
        with ExitStack() as opened:
            self.file: GGUFFile = opened.enter_context(open_gguf(self.model))
            options = WorkerOptions(
                *(path, context, device, threads, patience, asked, kv_type),
                weights=sum(tensor.nbytes for tensor in self.file.tensors.values()),
                ahead=ahead or Ahead(),
                seconds=seconds,
                remember=remember,
            )
            self._past = Past(options, Ledger.open() if remember else None)
            opened.callback(self._past.close)
            self._order, self._absent = order(backend, fallback_to, self._past)
            self._supervisor = Supervisor(
                self._order, options, strict=strict, past=self._past, standby=standby
            )
            opened.pop_all()

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

    def load(self, *, chat: bool = False) -> Iterator[Event]:
        """Load the model, telling how it goes; the tokenizer is made while the worker loads.

        For a `chat` the template is as well: TextError at once when the model has none.
        """
        self._supervisor.spawn()
        self._check_vocabulary()
        if chat:
            _ = self.template
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

    def health(self) -> list[Health]:
        """What it knows of its backends, in the order they are tried; nothing is started for it.

        `forge.list_backends` opens each one to see.
        """
        found = [outlook(place, self._supervisor, self._past) for place in self._order]
        return found + [not_installed(name, advice) for name, advice in self._absent.items()]

    def watch(self) -> Watch | None:
        """What the watchdog sees now, from any thread; None while the worker has nothing to do."""
        runner = self._supervisor.runner
        return runner.watch if runner else None

    def log_tail(self) -> str:
        """The end of what the worker and its driver printed, from any thread."""
        runner = self._supervisor.runner
        return runner.log_tail() if runner else ""

    def chat(
        self,
        system: str | None = None,
        messages: Sequence[Mapping[str, str]] = (),
        **variables: Any,
    ) -> Session:
        """A conversation: with a system prompt, going on from earlier messages; see `Session`."""
        from forge.session import Session

        return Session(self, system, messages, **variables)

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
        `cancel` ends it from now on, also before its first event is read.
        """
        self._check(tokens)
        if max_tokens is not None and max_tokens < 1:
            raise UsageError(f"a reply of {max_tokens} tokens: ask for at least 1")
        reply = Reply(self.tokenizer, StopMatcher(stop) if stop else None)
        events = self._supervisor.generate(
            list(tokens),
            (params or SamplingParams()).resolved(),
            MOST_TOKENS if max_tokens is None else min(max_tokens, MOST_TOKENS),
            sorted(self.tokenizer.stop_ids if stop_ids is None else stop_ids),
            reuse=reuse,
        )
        return self._told(reply, events, len(tokens))

    def _told(
        self, reply: Reply, events: Generator[Event, None, FinishReason], prompt_tokens: int
    ) -> Generator[Event, None, None]:
        reply.fallbacks, self._moved = self._moved, []
        reason = yield from reply.follow(events)
        answered = self._supervisor.answered
        ready = answered.ready_info if answered else None
        yield Done(
            tokens=tuple(reply.tokens),
            prompt_tokens=prompt_tokens,
            finish_reason=reason,
            backend=ready.backend if ready else "",
            device=ready.device if ready else "",
            fallbacks=tuple(reply.fallbacks),
            timings=reply.timings(answered),
            text=reply.text,
        )

    def logits(self, tokens: Sequence[int]) -> NDArray[np.float32]:
        """The logits after each of `tokens`, f32 [n, vocabulary]; no BOS is added.

        Never answered by another backend than the one that is ready: BackendError instead, and
        BackendWrong when a number is not finite.
        """
        return np.concatenate(list(self.logit_blocks(tokens)))

    def logit_blocks(self, tokens: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """The same in blocks of rows, for texts whose logits would not fit in memory."""
        self._check(tokens)
        return map(self._finite, self._supervisor.logits(tokens))

    def _finite(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        if not np.isfinite(block).all():
            raise BackendWrong(f"{self.backend}: the logits of {self.model} are not finite")
        return block

    def profile(self, tokens: int, repetitions: int = 20, start: int = 0) -> RunProfile:
        """How long each kernel takes in a run of `tokens` tokens, or one chunk, from `start`.

        Medians by the device's clock, of at least one repetition. The cache is emptied. Raises
        BackendUnsupported where the backend has no timestamps, and ContextOverflow; never moves to
        another backend.
        """
        if tokens < 1 or repetitions < 1 or start < 0:
            raise UsageError(
                f"{tokens} tokens from {start}, {repetitions} times: give at least 1, 0 and 1"
            )
        events = self._supervisor.profile(tokens, start, repetitions)
        while True:
            try:
                next(events)
            except StopIteration as end:
                found: RunProfile = end.value
                return found

    def _check(self, tokens: Sequence[int]) -> None:
        if not tokens:
            raise UsageError("the prompt is empty: give at least one token")
        size = self.tokenizer.size
        wrong = next((token for token in tokens if not 0 <= token < size), None)
        if wrong is not None:
            raise UsageError(f"token {wrong} is not in the vocabulary, 0 to {size - 1}")

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

    def __exit__(self, *_: object) -> None:
        self.close()
