"""Everything that the monitor shows, as one frozen value that each piece of news replaces."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias, TypeGuard

from forge import Diagnosis, Done, Event, Fallback, Loading, Prefill, Ready, Token, Watch
from forge_tui.monitor.reading import Reading

KEPT = 240
"""Samples of each history: four minutes."""
_MOST_FALLBACKS = 50
_MARKS, _MARK_SECONDS = 6, 0.5
"""A live rate is that of the last few seconds, so that a pause is seen and then forgotten."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A model is about to be loaded; `name` is what people call it."""

    name: str


@dataclass(frozen=True, slots=True)
class Named:
    """The model that was loaded is called that."""

    name: str


@dataclass(frozen=True, slots=True)
class Asked:
    """A message was sent: from now on the first token is waited for."""


@dataclass(frozen=True, slots=True)
class Polled:
    """What was seen of the worker: its watchdog, None while it has nothing to do, and its log."""

    watch: Watch | None
    log: str = ""


News: TypeAlias = Event | Chosen | Named | Asked | Polled | Reading | Diagnosis


def is_news(value: object) -> TypeGuard[Event]:
    """Whether it is one of the engine's events that change the state."""
    return isinstance(value, Loading | Ready | Prefill | Token | Fallback | Done)


@dataclass(frozen=True, slots=True)
class GpuHistory:
    """A GPU's load and power."""

    address: str
    busy: tuple[float, ...] = ()
    power: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Histories:
    """Samples of one second each, the latest last; see `GpuReading` and `Reading` for the units."""

    rate: tuple[float, ...] = ()
    load: tuple[float, ...] = ()
    gpus: tuple[GpuHistory, ...] = ()

    def of(self, address: str) -> GpuHistory:
        """That GPU's, empty where there is none yet."""
        return next((gpu for gpu in self.gpus if gpu.address == address), GpuHistory(address))

    def longer(self, rate: float, reading: Reading) -> Histories:
        """With one more sample of each; a GPU that is not seen any more has none."""
        gpus = []
        for gpu in reading.gpus:
            old = self.of(gpu.address)
            busy, power = _longer(old.busy, gpu.busy), _longer(old.power, gpu.power)
            gpus.append(GpuHistory(gpu.address, busy, power))
        return Histories(_longer(self.rate, rate), _longer(self.load, reading.load), tuple(gpus))


@dataclass(frozen=True, slots=True)
class MonitorState:
    """phase: "idle", one of the engine's while it loads, "waiting", "prefill" or "decode".

    done, total: pieces of that phase, 0 where nobody counts. Rates are tokens a second: of the
    reply that is under way, or else of the last one. asked_at, reading_at, began_at,
    sampled_at: seconds on the monotonic clock; marks: when the reply had how many tokens.
    """

    model: str = ""
    ready: Ready | None = None
    backend: str = ""
    phase: str = "idle"
    done: int = 0
    total: int = 0
    detail: str = ""
    prompt_tokens: int = 0
    reply_tokens: int = 0
    first_token_s: float | None = None
    prefill_rate: float | None = None
    decode_rate: float | None = None
    fallbacks: tuple[Fallback, ...] = ()
    watch: Watch | None = None
    log: str = ""
    reading: Reading | None = None
    diagnosis: Diagnosis | None = None
    histories: Histories = Histories()
    asked_at: float | None = None
    reading_at: float | None = None
    began_at: float | None = None
    marks: tuple[tuple[float, int], ...] = ()
    tokens: int = 0
    sampled_at: float | None = None
    sampled_tokens: int = 0

    @property
    def answering(self) -> Ready | None:
        """What the backend in charge said of itself; None until it has loaded the model."""
        return self.ready if self.ready and self.ready.backend == self.backend else None

    @property
    def context_used(self) -> int:
        """Tokens of the context that the conversation takes."""
        return self.prompt_tokens + self.reply_tokens

    def updated(self, news: News, at: float) -> MonitorState:
        """The state after some news, which came `at` seconds on the monotonic clock."""
        match news:
            case Chosen():
                return MonitorState(
                    news.name,
                    phase="start",
                    reading=self.reading,
                    diagnosis=self.diagnosis,
                    histories=self.histories,
                )
            case Named():
                return replace(self, model=news.name)
            case Loading():
                return self._phase(news.phase, news.done, news.total, news.detail, news.backend)
            case Ready():
                idle = self._phase("idle", 0, 0, "", news.backend)
                return replace(idle, ready=news, reading_at=at)
            case Asked():
                waiting = self._phase("waiting", 0, 0, "", self.backend)
                return replace(
                    waiting, asked_at=at, reading_at=at, began_at=None, first_token_s=None
                )
            case Prefill():
                return self._prefilled(news, at)
            case Token():
                return self._token(at)
            case Fallback():
                kept_fallbacks = (*self.fallbacks, news)[-_MOST_FALLBACKS:]
                moved = self._phase("start", 0, 0, "", news.target)
                return replace(moved, fallbacks=kept_fallbacks, marks=())
            case Done():
                return self._finished(news)
            case Polled():
                return replace(self, watch=news.watch, log=news.log)
            case Reading():
                return self._sampled(news)
            case Diagnosis():
                return replace(self, diagnosis=news)
        return self

    def _phase(self, phase: str, done: int, total: int, detail: str, backend: str) -> MonitorState:
        return replace(self, phase=phase, done=done, total=total, detail=detail, backend=backend)

    def _prefilled(self, news: Prefill, at: float) -> MonitorState:
        rate = self.prefill_rate
        if self.reading_at is not None and at > self.reading_at:
            rate = news.done / (at - self.reading_at)
        read = self._phase("prefill", news.done, news.total, "", self.backend)
        shown = {"prompt_tokens": news.total, "reply_tokens": 0} if not self.began_at else {}
        return replace(read, prefill_rate=rate, **shown)  # type: ignore[arg-type]  # both are numbers

    def _token(self, at: float) -> MonitorState:
        first, began, rate, marks = self.first_token_s, self.began_at, self.decode_rate, self.marks
        count = self.reply_tokens + 1
        if began is None:
            began, rate, marks, count = at, None, (), 1
            first = at - self.asked_at if self.asked_at is not None else None
        if not marks or at - marks[-1][0] >= _MARK_SECONDS:
            marks = (*marks, (at, count))[-_MARKS:]
        if at > marks[0][0]:
            rate = (count - marks[0][1]) / (at - marks[0][0])
        return replace(
            self._phase("decode", 0, 0, "", self.backend),
            reply_tokens=count,
            tokens=self.tokens + 1,
            marks=marks,
            began_at=began,
            first_token_s=first,
            decode_rate=rate,
        )

    def _finished(self, news: Done) -> MonitorState:
        """The engine's own figures, which are better than what could be seen from here."""
        return replace(
            self._phase("idle", 0, 0, "", news.backend or self.backend),
            prompt_tokens=news.prompt_tokens,
            reply_tokens=len(news.tokens),
            first_token_s=_or(news.timings.first_token_s, self.first_token_s),
            prefill_rate=_or(news.timings.prefill_tok_s, self.prefill_rate),
            decode_rate=_or(news.timings.decode_tok_s, self.decode_rate),
            asked_at=None,
            began_at=None,
        )

    def _sampled(self, news: Reading) -> MonitorState:
        rate = 0.0
        if self.sampled_at is not None and news.at > self.sampled_at:
            rate = (self.tokens - self.sampled_tokens) / (news.at - self.sampled_at)
        return replace(
            self,
            reading=news,
            histories=self.histories.longer(rate, news),
            sampled_at=news.at,
            sampled_tokens=self.tokens,
        )


def _longer(history: tuple[float, ...], sample: float | None) -> tuple[float, ...]:
    return history if sample is None else (*history, sample)[-KEPT:]


def _or(told: float | None, seen: float | None) -> float | None:
    return seen if told is None else told
