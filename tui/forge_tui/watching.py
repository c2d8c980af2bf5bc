"""The monitor beside the chat, and the conversations that were kept: what looks at the chat."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual import work
from textual.containers import Horizontal

from forge_tui.archive import OpenStore
from forge_tui.engine_thread import Choices, Loaded, Told
from forge_tui.keeping import Keeping
from forge_tui.talk import Talk

if TYPE_CHECKING:
    from forge_tui.monitor import Feed

_ROOM = 100
"""Columns below which the monitor has no place beside the chat."""


class Watching(Keeping):
    """Owns the monitor's feed, which begins with the engine's first news."""

    def __init__(self, talk: Talk, choices: Choices, open_store: OpenStore | None = None) -> None:
        super().__init__(talk, choices, open_store)
        self._feed: Feed | None = None

    @property
    def feed(self) -> Feed:
        """What the monitor shows."""
        if self._feed is None:
            from forge_tui.monitor import Feed, Polled  # the first paint does not wait for it

            engine = self.engine
            self._feed = Feed(lambda: Polled(engine.watch(), engine.log_tail()), engine.worker_pid)
        return self._feed

    def told(self, told: Told) -> None:
        """The monitor sees everything but the words."""
        super().told(told)
        from forge_tui.monitor import Named, is_news

        if isinstance(told.news, Loaded):
            self.feed.observe(Named(told.news.name))
        elif is_news(told.news):
            self.feed.observe(told.news)

    def load(self, choices: Choices) -> None:
        """What was known of another model is old."""
        super().load(choices)
        if self._feed is not None:
            from forge_tui.monitor import Chosen

            self._feed.observe(Chosen(choices.model or ""))

    def reply_began(self, asked: Any, reply: Any) -> None:
        """From now on the first token is waited for."""
        super().reply_began(asked, reply)
        from forge_tui.monitor import Asked

        self.feed.observe(Asked())

    async def action_monitor(self) -> None:
        """From no monitor to one beside the chat, from there to all of it, and back."""
        from forge_tui.monitor import MonitorPanel, MonitorScreen

        panels = self.query(MonitorPanel)
        if not panels and self.size.width >= _ROOM:
            await self.query_one("#middle", Horizontal).mount(MonitorPanel(self.feed))
        else:
            await panels.remove()
            self.push_screen(MonitorScreen(self.feed))

    @work(exclusive=True, group="chats")
    async def action_chats(self) -> None:
        """Go on with another conversation."""
        if self.archive is None:
            self.banner.tell("conversations are not kept here")
            return
        from forge_tui.sessions import SessionsScreen

        screen = SessionsScreen(self.archive.ask, self.archive.conversation)
        chosen = await self.push_screen_wait(screen)
        if self.archive.conversation in screen.deleted:
            self.new_chat()
        if chosen is not None and chosen != self.archive.conversation:
            self.resume(chosen)

    def new_chat(self) -> None:
        """Begin another conversation."""

    def close_feed(self) -> None:
        """Read no more gauges."""
        if self._feed is not None:
            self._feed.close()
