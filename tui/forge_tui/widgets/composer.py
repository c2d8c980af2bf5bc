"""Where a person types: Enter sends, Ctrl+J begins a line, the arrows bring back what was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import TextArea

_LONG = 10_000
"""Characters from which a paste is kept aside: wrapping it anew at each key would be felt."""


class Composer(TextArea):
    """Owns the draft, what was sent before, and long pastes, which it shows as one line."""

    DEFAULT_CSS = """
    Composer {
        height: auto; min-height: 3; max-height: 10; padding: 0 1;
        border: round $foreground 40%; background: $background; scrollbar-size-vertical: 1;
    }
    Composer:focus { border: round $accent; }
    Composer, Composer:focus { border-title-color: $foreground; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "submit", "Send"),
        Binding("ctrl+j,shift+enter", "line", "New line", key_display="^j"),
    ]

    @dataclass
    class Submitted(Message):
        """The person sent this."""

        text: str

    def __init__(self, id: str | None = None) -> None:
        super().__init__(
            id=id,
            soft_wrap=True,
            show_line_numbers=False,
            tab_behavior="focus",
            highlight_cursor_line=False,
            placeholder="Write a message. Enter sends, Ctrl+J begins a new line, / lists commands",
        )
        self.sent: list[str] = []
        self._pastes: dict[str, str] = {}
        self._place: int | None = None
        self._draft = ""
        self.border_title = "message"

    @property
    def whole(self) -> str:
        """The draft with what was pasted."""
        text = self.text
        for sign, paste in self._pastes.items():
            text = text.replace(sign, paste)
        return text

    def fill(self, text: str) -> None:
        """Put a text there to be edited."""
        self._pastes.clear()
        self.text = ""
        self._insert(text)
        self.move_cursor(self.document.end)
        self.focus()

    def action_submit(self) -> None:
        """Send what is there."""
        text = self.whole
        if not text.strip():
            return
        self.sent.append(text)
        self._place, self._draft = None, ""
        self._pastes.clear()
        self.text = ""
        self.post_message(self.Submitted(text))

    def action_line(self) -> None:
        """Begin a line."""
        self.insert("\n")

    async def _on_key(self, event: events.Key) -> None:
        """In the order of typing: a binding with priority would overtake the keys before it."""
        if event.key == "enter":
            event.stop()
            event.prevent_default()
            self.action_submit()
        elif event.key not in ("ctrl+j", "shift+enter"):
            await super()._on_key(event)

    async def _on_paste(self, event: events.Paste) -> None:
        """As typed; a long text is shown as one line, and sent whole."""
        event.stop()
        event.prevent_default()
        self._insert(event.text.replace("\r\n", "\n").replace("\r", "\n"))

    def _insert(self, text: str) -> None:
        if len(text) > _LONG:
            number, lines = len(self._pastes) + 1, text.count("\n") + 1
            sign = f"[pasted text {number}: {lines} lines, {len(text)} characters]"
            self._pastes[sign] = text
            text = sign
        self.replace(text, *self.selection)

    def action_cursor_up(self, select: bool = False) -> None:
        """In the first line: what was sent before."""
        if self.cursor_location[0] == 0 and not select and self.sent:
            self._recall(-1)
        else:
            super().action_cursor_up(select)

    def action_cursor_down(self, select: bool = False) -> None:
        """In the last line: back to the draft."""
        last = self.cursor_location[0] == self.document.line_count - 1
        if last and not select and self._place is not None:
            self._recall(1)
        else:
            super().action_cursor_down(select)

    def _recall(self, step: int) -> None:
        if self._place is None:
            self._place, self._draft = len(self.sent), self.whole
        self._place = max(0, self._place + step)
        if self._place >= len(self.sent):
            draft, self._place = self._draft, None
            self.fill(draft)
        else:
            self.fill(self.sent[self._place])
