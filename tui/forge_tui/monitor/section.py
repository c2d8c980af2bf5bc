"""A titled box of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from textual.content import Content
from textual.widget import Widget

from forge_tui.monitor.rows import Row, drawn
from forge_tui.monitor.state import MonitorState


class Section(Widget):
    """Draws what `rows` makes of the state; it is drawn again only where that has changed."""

    DEFAULT_CSS = """
    Section { height: auto; padding: 0 1; margin-bottom: 1; border-left: outer $panel; }
    Section .title { text-style: bold; }
    """

    def __init__(
        self, title: str, rows: Callable[[MonitorState], Iterable[Row]], *, id: str | None = None
    ) -> None:
        super().__init__(id=id)
        self._title = title
        self._rows = rows
        self._shown: tuple[Row, ...] = ()
        self._height = 0
        self.display = False

    def show(self, state: MonitorState) -> None:
        """Draw that state; a section without rows takes no place."""
        shown = tuple(self._rows(state))
        if shown == self._shown:
            return
        self._shown = shown
        self.display = bool(shown)
        height = self.render().plain.count("\n")
        # To place everything anew costs more than to draw it: only where a line came or went.
        self.refresh(layout=height != self._height)
        self._height = height

    def render(self) -> Content:
        """The title, and the rows below it."""
        title = Content.styled(self._title, "bold $text-primary")
        width = self.content_size.width or self.container_size.width
        return Content("\n").join([title, drawn(self._shown, width)])
