"""A text to write: the system prompt."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Button, Label, TextArea

from forge_tui.screens.box import Box


class TextEditor(Box[str]):
    """Gives the text as it was saved."""

    DEFAULT_CSS = """
    TextEditor TextArea { height: 10; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s", "save", "Save", priority=True)]

    def __init__(self, title: str, text: str, about: str) -> None:
        super().__init__()
        self._title, self._text, self._about = title, text, about

    def compose(self) -> ComposeResult:
        """The text and a button."""
        with Vertical() as box:
            box.border_title = self._title
            box.border_subtitle = "Ctrl+S: save · Esc: leave it as it was"
            yield Label(self._about, classes="about", markup=False)
            yield TextArea(self._text, tab_behavior="focus")
            yield Button("Save", variant="primary", compact=True)

    def on_mount(self) -> None:
        """Write at once."""
        area = self.query_one(TextArea)
        area.focus()
        area.move_cursor(area.document.end)

    def on_button_pressed(self) -> None:
        """The same as Ctrl+S."""
        self.action_save()

    def action_save(self) -> None:
        """This is the text."""
        self.dismiss(self.query_one(TextArea).text.strip())
