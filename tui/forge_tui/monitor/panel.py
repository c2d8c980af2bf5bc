"""The monitor beside the chat: figures, watchdog, machine, and what went wrong in short."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.reactive import reactive

from forge_tui.monitor import figures, trouble
from forge_tui.monitor.feed import Feed
from forge_tui.monitor.section import Section
from forge_tui.monitor.state import MonitorState

SECONDS = 0.25
"""Between two looks: tokens may come two hundred times a second, eyes do not."""


class MonitorPanel(VerticalScroll):
    """Shows a feed while it is on the screen."""

    DEFAULT_CSS = """
    MonitorPanel { width: 44; padding: 0 0; scrollbar-size-vertical: 1; }
    """

    state: reactive[MonitorState] = reactive(MonitorState(), init=False)

    def __init__(self, feed: Feed, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._feed = feed

    def compose(self) -> ComposeResult:
        """A section for each kind of figure."""
        yield Section("Trouble", trouble.in_short, id="monitor-trouble")
        yield Section("Engine", figures.engine, id="monitor-engine")
        yield Section("Watchdog", figures.watchdog, id="monitor-watchdog")
        yield Section("Machine", figures.machine, id="monitor-machine")

    def on_mount(self) -> None:
        """Begin to look."""
        self._feed.start()
        self.set_interval(SECONDS, self.look)
        self.watch_state(self._feed.look())

    def look(self) -> None:
        """Show what is the case now, unless nobody could see it."""
        if self.is_on_screen:
            self.state = self._feed.look()

    def watch_state(self, state: MonitorState) -> None:
        """Hand it down."""
        for section in self.query(Section):
            section.show(state)
