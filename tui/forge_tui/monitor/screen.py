"""The monitor on a screen of its own: everything, with remedies and the worker's log."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import reactive
from textual.screen import Screen
from textual.widgets import Footer, Static

from forge_tui.monitor import figures, trouble
from forge_tui.monitor.feed import Feed
from forge_tui.monitor.panel import SECONDS
from forge_tui.monitor.rows import clean
from forge_tui.monitor.section import Section
from forge_tui.monitor.state import MonitorState


class WorkerLog(VerticalScroll):
    """The end of what the worker and its driver printed."""

    text = reactive("")

    def compose(self) -> ComposeResult:
        """The title and the lines."""
        yield Static(Content.styled("Worker's log", "bold $text-primary"))
        yield Static(Content("nothing was printed"), id="monitor-log-lines")

    def watch_text(self, text: str) -> None:
        """New lines are shown, and followed unless somebody reads further up."""
        lines = [clean(line) for line in text.splitlines()]
        follow = self.is_vertical_scroll_end
        self.query_one("#monitor-log-lines", Static).update(
            Content("\n".join(lines) or "nothing was printed")
        )
        if follow:
            self.scroll_end(animate=False)


class MonitorScreen(Screen[None]):
    """Shows a feed; the doctor looks when it opens, and when asked."""

    DEFAULT_CSS = """
    MonitorScreen #monitor-columns { layout: horizontal; height: 1fr; }
    MonitorScreen .column { width: 1fr; height: 1fr; }
    MonitorScreen #monitor-reasons { height: 1fr; }
    MonitorScreen WorkerLog { height: 12; border-top: solid $panel; padding: 0 1; }
    MonitorScreen FooterKey .footer-key--key { color: $foreground; }
    MonitorScreen.-narrow #monitor-columns { layout: vertical; }
    MonitorScreen.-narrow .column { height: auto; }
    MonitorScreen.-narrow #monitor-reasons { height: auto; }
    MonitorScreen.-narrow WorkerLog { height: auto; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012  # as Textual types it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,f6", "close", "Back"),
        Binding("r", "examine", "Ask the doctor again"),
    ]

    state: reactive[MonitorState] = reactive(MonitorState(), init=False)

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self._feed = feed

    def compose(self) -> ComposeResult:
        """Figures on the left; reasons and the log on the right, or below where it is narrow."""
        with VerticalScroll(id="monitor-columns"):
            with VerticalScroll(classes="column"):
                yield Section("Engine", figures.engine)
                yield Section("Watchdog", figures.watchdog)
                yield Section("Machine", figures.machine)
            with Vertical(classes="column"):
                with VerticalScroll(id="monitor-reasons"):
                    yield Section("Trouble and remedies", trouble.in_full)
                yield WorkerLog()
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self._feed.start()
        self._feed.examine()
        self.set_interval(SECONDS, self.look)
        self.watch_state(self.state)
        self.look()

    def look(self) -> None:
        """Show what is the case now."""
        self.state = self._feed.look()

    def watch_state(self, state: MonitorState) -> None:
        """Hand it down."""
        for section in self.query(Section):
            section.show(state)
        self.query_one(WorkerLog).text = state.log

    def action_close(self) -> None:
        """Back to the chat."""
        self.dismiss(None)

    def action_examine(self) -> None:
        """Have the doctor look once more."""
        self._feed.examine()
