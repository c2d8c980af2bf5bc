"""A context that is full: nothing is left out before the person has chosen what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import work

from forge_tui.engine_thread import Failed, Full, Told
from forge_tui.settings import Settings

if TYPE_CHECKING:
    from forge_tui.screens.picker import Choice

_LENGTH = 256
_ASK = (
    "Summarise our conversation so far in at most 120 words, for somebody who has to go on "
    "with it. "
    "Keep names, numbers, decisions and open questions. Write nothing but the summary."
)
_WAYS: tuple[Choice, ...] = (
    ("drop", "Drop the oldest turns", "the model forgets them; they stay on the screen"),
    ("summarise", "Summarise the oldest turns", "the model keeps a short version of them"),
    ("new", "Begin a new chat", "with the message that did not fit"),
)


class Room(Settings):
    """Owns the summary that is being written, if one is."""

    summing = 0
    _summary = ""
    _summed = 0
    _resume = False

    def is_full(self, full: Full) -> None:
        """The reply that did not fit, or was cut, waits for a choice."""
        about = f"The conversation takes {full.tokens} of the context's {full.context} tokens."
        self._choose(about)

    def action_room(self) -> None:
        """The same choice, before the context is full."""
        status = self.status
        self._choose(f"The conversation takes {status.used} of {status.context} tokens.")

    @work(exclusive=True, group="pick")
    async def _choose(self, about: str) -> None:
        from forge_tui.screens.picker import Picker

        picked = await self.push_screen_wait(Picker("Make room in the context", _WAYS, about))
        leaf = self.talk.tree.leaf
        self._resume = leaf is not None and leaf.role == "user"
        match picked:
            case "drop":
                self._drop()
            case "summarise":
                self._summarise()
            case "new":
                text = leaf.text if leaf is not None and leaf.role == "user" else ""
                self.new_chat()
                self.composer.fill(text)

    def _drop(self) -> None:
        count = self.talk.drop_oldest()
        if not count:
            self.banner.tell(
                "this one message is longer than the context: shorten it, "
                "or start forge with a larger one (-c)",
                error=True,
            )
            return
        self._made(f"the model no longer sees the first {self.talk.unseen} messages")

    def _made(self, remark: str) -> None:
        self.show_path()
        self.remark(remark)
        if self._resume:
            self.answer()
        else:
            self.answer_next()

    def _summarise(self) -> None:
        talk = self.talk
        before, earlier = talk.unseen, talk.messages
        count = talk.drop_oldest()
        if not count or self.loaded is None:
            self._drop()
            return
        talk.unseen = before
        begin = len(earlier) - (len(talk.tree.path()) - before)
        asked = [*earlier[: begin + count], {"role": "user", "content": _ASK}]
        self._summary, self._summed = "", before + count
        self.summing = self.engine.answer(asked, self.chosen_params(), _LENGTH)
        self.status.doing = "summarising the oldest turns"

    def other(self, told: Told) -> None:
        """The summary as it grows."""
        if told.request != self.summing or not self.summing:
            super().other(told)
            return
        news: Any = told.news
        match type(news).__name__:
            case "Text":
                self._summary += news.text
            case "Done" if news.finish_reason in ("stop", "length") and self._summary.strip():
                self.summing = 0
                self.talk.summary, self.talk.unseen = self._summary.strip(), self._summed
                self.status.doing = ""
                self._made(f"the model now has a summary instead: {self.talk.summary}")
            case "Done":
                self.summing = 0
                self.status.doing = ""
                self.remark("nothing was summarised", warning=True)
            case "Full" | "Failed":
                self.summing = 0
                self.status.doing = ""
                reason = news.reason if isinstance(news, Failed) else "it does not fit either"
                self.banner.tell(
                    f"no summary: {reason}. The oldest turns can be dropped", error=True
                )

    def new_chat(self) -> None:
        """Begin another conversation."""
        raise NotImplementedError
