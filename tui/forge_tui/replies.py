"""Replies as they come: from what the engine tells to what is on the screen."""

from __future__ import annotations

import gc
import time
from importlib import import_module
from typing import Any

from textual import on
from textual.message import Message

from forge_tui.chat_view import WELCOME, ChatView
from forge_tui.engine_thread import Absent, Choices, EngineThread, Failed, Full, Loaded, Told
from forge_tui.talk import Talk

_PAUSE, _LONGEST = 1 / 15, 0.5
"""Seconds between two looks at what came; more where showing it takes long."""
_SHARE = 8
"""One part of the time in so many is spent on showing."""


class EngineWaits(Message, bubble=False):
    """The engine has told something."""


class Replies(ChatView):
    """Owns the engine's thread and the request in progress."""

    def __init__(self, talk: Talk, choices: Choices) -> None:
        super().__init__(talk)
        self.choices = choices
        self.loaded: Loaded | None = None
        self.loading = 0
        self.engine = EngineThread(self._wake)
        self._looked = 0.0
        self._pause = _PAUSE
        self._looking = False

    def _wake(self) -> None:
        self.post_message(EngineWaits())

    def begin(self) -> None:
        """Load the model; what is slow to import is imported there."""
        self.engine.start()
        self.load(self.choices)
        self.run_worker(_warm, thread=True, group="warm")

    def load(self, choices: Choices) -> None:
        """Load a model, in place of the one that is loaded."""
        self.stop()
        self.choices, self.loaded = choices, None
        self.status.doing = "starting"
        self.loading = self.engine.load(choices)

    def send(self, text: str) -> None:
        """What a person sends is answered when everything before it is."""
        self.talk.waiting.append(text)
        if not self.answer_next():
            self.show_waiting(text)

    def answer_next(self) -> bool:
        """Answer the message that waits longest; False where it has to wait on."""
        talk = self.talk
        if not talk.waiting or self.loaded is None or talk.reply is not None or talk.request:
            return False
        node = talk.say(talk.waiting.pop(0))
        self.transcript.take_away(WELCOME - 1)
        self.transcript.add(node.key, "user", self.heading(node), node.text)
        self.answer()
        for text in talk.waiting:
            self.show_waiting(text)
        return True

    def answer(self) -> None:
        """Answer the last message of the branch."""
        asked = self.talk.tree.leaf
        if asked is None or asked.role != "user":
            return
        self.banner.dismiss()
        reply = self.talk.begin(asked)
        reply.backend = self.loaded.backend if self.loaded else ""
        self.transcript.add(reply.key, "assistant", self.heading(reply))
        self.status.doing = "reading"
        self.talk.request = self.engine.answer(
            self.talk.messages, self.chosen_params(), self.talk.max_tokens
        )
        self.reply_began(asked, reply)

    def chosen_params(self) -> Any:
        """How tokens are chosen; what was taken was checked."""
        from forge import SamplingParams

        return SamplingParams(**self.talk.sampling)

    def stop(self) -> None:
        """End the reply at once; what is there stays."""
        if not self.talk.request:
            return
        self._look()
        if self.talk.request:
            self.engine.stop(self.talk.request)
            self.finish("stopped", {"reason": "cancelled"})

    def finish(self, state: str, meta: dict[str, Any]) -> None:
        """The reply is over."""
        reply = self.talk.reply
        self.status.doing = ""
        if reply is None:
            self.talk.request = 0
            return
        reply.meta |= meta
        kept = self.talk.end(state)
        if kept is None:
            self.transcript.take_away(reply.key)
        else:
            self.transcript.head(kept.key, self.heading(kept))
        self.reply_ended(reply, kept is not None)

    @on(EngineWaits)
    def engine_waits(self) -> None:
        """Look now, or a little later: showing many tokens at once costs less."""
        if self._looking:
            return
        rest = self._looked + self._pause - time.monotonic()
        if rest <= 0:
            self._look()
        else:
            self._looking = True
            self.set_timer(rest, self._look)

    def _look(self) -> None:
        self._looking = False
        began = time.monotonic()
        text = ""
        for told in self.engine.drain():
            if told.request == self.talk.request and type(told.news).__name__ == "Text":
                text += told.news.text
                self.told(told)
                continue
            if text and type(told.news).__name__ != "Token":  # words of many tokens at once
                self._grow(text)
                text = ""
            self.told(told)
            self._take(told)
        if text:
            self._grow(text)
        if self.talk.reply is not None and self.talk.request:
            self._figures()
        self._looked = time.monotonic()
        self._pause = min(_LONGEST, max(_PAUSE, _SHARE * (self._looked - began)))

    def _grow(self, text: str) -> None:
        reply = self.talk.reply
        if reply is not None:
            reply.text += text
            self.transcript.grow(reply.key, text)
            self.reply_grew(reply, text)

    def _figures(self) -> None:
        reply = self.talk.reply
        if reply is not None and reply.tokens:
            self.status.used = self.talk.used
            self.status.doing = f"writing, {reply.tokens} token{'s' * (reply.tokens != 1)}"

    def _take(self, told: Told) -> None:
        """One thing that happened; of a request that was stopped nothing counts any more."""
        news = told.news
        mine = told.request == self.talk.request
        match type(news).__name__:
            case "Loading" if told.request == self.loading or mine:
                part = f" {news.done} of {news.total}" if news.total else ""
                self.status.doing = f"{news.backend}: {news.phase}{part}"
            case "Loaded" if told.request == self.loading:
                self.is_loaded(news)
            case "Ready":
                self.status.backend, self.status.device = news.backend, news.device
                self.status.context = news.context
            case "Fallback":
                self.fell_back(news, midway=mine)
            case "Prefill" if mine:
                self.talk.used = news.total
                self.status.used = news.total
                self.status.doing = f"reading {news.done} of {news.total} tokens"
            case "Token" if mine and self.talk.reply is not None:
                self.talk.reply.tokens += 1
                self.talk.used += 1
            case "Done" if mine:
                self._done(news)
            case "Full" if mine:
                self.finish("failed", {})
                self.talk.used = self.status.used = news.tokens
                self.is_full(news)
            case "Absent" if told.request == self.loading:
                self.loading = 0
                self.status.doing = ""
                self.is_absent(news)
            case "Failed" if mine or told.request == self.loading:
                self._failed(news, mine=mine)
            case _:
                self.other(told)

    def _done(self, done: Any) -> None:
        reply = self.talk.reply
        if reply is not None:
            reply.backend, reply.tokens = done.backend, len(done.tokens)
        self.talk.used = self.status.used = done.prompt_tokens + len(done.tokens)
        pace = {
            name: getattr(done.timings, name)
            for name in ("first_token_s", "prefill_tok_s", "decode_tok_s")
        }
        cancelled = done.finish_reason == "cancelled"
        self.finish("stopped" if cancelled else "complete", {"reason": done.finish_reason, **pace})
        if done.finish_reason == "context":
            self.is_full(Full(self.talk.used, self.status.context))
        else:
            self.answer_next()

    def _failed(self, failed: Failed, *, mine: bool) -> None:
        if not mine:
            self.loading = 0
            self.status.doing = "no model is loaded"
        self.banner.tell(failed.reason, failed.reason, error=True)
        if mine:
            self.finish("failed", {"error": failed.reason})

    def is_loaded(self, loaded: Loaded) -> None:
        """The model answers from now on."""
        self.loaded, self.loading = loaded, 0
        gc.freeze()  # modules and the vocabulary stay: looking through them takes up to 0.3 s
        self.model = loaded.name
        status = self.status
        status.model, status.context = loaded.name, loaded.context
        status.backend, status.device = loaded.backend, loaded.device
        status.doing = ""
        for warning in loaded.warnings:
            self.remark(warning, warning=True)
        self.answer_next()

    def fell_back(self, event: Any, *, midway: bool) -> None:
        """Never silent, never in the way: what happened, and where it goes on."""
        if not event.tried:
            text = f"{event.source} is not used: {event.reason}. {event.target} answers"
        else:
            where = "a fresh worker" if event.source == event.target else event.target
            goes = f"the reply goes on with {where} after {event.at_token} tokens"
            text = f"{event.source} failed: {event.reason}. " + (
                goes if midway else f"{event.target} takes its place"
            )
        more = f"\nWhat was found out is in {event.record}" if event.record else ""
        self.banner.tell(f"{text}  (F7: more)", f"{text}{more}")
        reply = self.talk.reply
        if midway and reply is not None:
            moved = {"from": event.source, "to": event.target, "reason": event.reason}
            moved |= {"at_token": event.at_token}
            reply.meta.setdefault("fallbacks", []).append(moved)
            reply.backend = event.target
            self.transcript.head(reply.key, self.heading(reply))

    def told(self, told: Told) -> None:
        """For whoever looks at everything."""

    def other(self, told: Told) -> None:
        """What belongs to no reply and to no load."""

    def is_full(self, full: Full) -> None:
        """There is no room for a reply."""

    def is_absent(self, absent: Absent) -> None:
        """The model has to be fetched first."""

    def asked_anew(self, asked: Any) -> None:
        """For whoever keeps it: a message in the place of another."""

    def turned(self, node: Any) -> None:
        """For whoever keeps it: another branch is looked at."""

    def reply_began(self, asked: Any, reply: Any) -> None:
        """For whoever keeps it."""

    def reply_grew(self, reply: Any, text: str) -> None:
        """For whoever keeps it."""

    def reply_ended(self, reply: Any, kept: bool) -> None:
        """For whoever keeps it."""


def _warm() -> None:
    """Import what the first message and the first list would wait for."""
    for module in ("text.draw", "text.blocks", "screens.picker", "screens.reader"):
        import_module(f"forge_tui.{module}")
    import_module("markdown_it")
