"""Something to read: the help, what happened, the worker's log."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Markdown, Static

from forge_tui.screens.box import Box
from forge_tui.text.shown import shown


class Reader(Box[None]):
    """A text as it is, or as Markdown."""

    DEFAULT_CSS = """
    Reader VerticalScroll { height: auto; max-height: 100%; }
    Reader > Vertical { height: 90%; }
    """

    def __init__(self, title: str, text: str, *, markdown: bool = False) -> None:
        super().__init__()
        self._title, self._text, self._markdown = title, text, markdown

    def compose(self) -> ComposeResult:
        """A box that scrolls."""
        with Vertical() as box:
            box.border_title = self._title
            box.border_subtitle = "Esc: back"
            with VerticalScroll():
                if self._markdown:
                    yield Markdown(self._text, open_links=False)
                else:
                    yield Static(shown(self._text), markup=False)

    def on_mount(self) -> None:
        """The arrows scroll."""
        self.query_one(VerticalScroll).focus()
