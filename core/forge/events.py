"""What the engine tells its caller while it works, in the order it happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

FinishReason: TypeAlias = Literal["stop", "length", "context", "cancelled"]
"""The model or a stop string ended it; the token limit; a full context; the person."""


@dataclass(frozen=True, slots=True)
class Loading:
    """A piece of start-up is finished: `done` of `total` in a phase (start, open, load, …)."""

    backend: str
    phase: str
    done: int = 0
    total: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker holds the model and passed its known-answer check.

    Bytes: what the KV cache takes, and of the device's memory all, and what was free with the model
    loaded; 0 where the backend does not tell.
    """

    backend: str
    device: str
    context: int
    load_s: float
    notes: tuple[str, ...] = ()
    cache_bytes: int = 0
    memory_bytes: int = 0
    free_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Prefill:
    """`done` of the prompt's `total` tokens are in the cache."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Token:
    """The reply's next token."""

    id: int


@dataclass(frozen=True, slots=True)
class Text:
    """The reply's next piece of text: whole characters only."""

    text: str


@dataclass(frozen=True, slots=True)
class Fallback:
    """The reply moved from one backend to another after `at_token` of its tokens.

    From one to itself: it goes on in a fresh worker. tried: False where the backend was passed over
    for what is known of it, or has itself said no: there is no driver or no device. record: the
    file with what was found out, if there is one.
    """

    source: str
    target: str
    reason: str
    at_token: int
    tried: bool = True
    record: str = ""


@dataclass(frozen=True, slots=True)
class Timings:
    """Seconds, and tokens a second where there was something to time."""

    load_s: float = 0.0
    first_token_s: float | None = None
    prefill_tok_s: float | None = None
    decode_tok_s: float | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The reply is complete: all of it, and how it came about."""

    tokens: tuple[int, ...]
    prompt_tokens: int
    finish_reason: FinishReason
    backend: str
    device: str
    fallbacks: tuple[Fallback, ...] = ()
    timings: Timings = Timings()
    text: str = ""


Event: TypeAlias = Loading | Ready | Prefill | Token | Text | Fallback | Done
