"""One line: the model, who answers, what it is doing, and how full the context is."""

from __future__ import annotations

from textual.app import RenderResult
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from forge_tui.text.shown import shown

WARNS, ALARMS = 0.75, 0.9
"""Shares of the context from which the meter says so."""
_BAR = 10


class StatusLine(Widget):
    """A view of attributes."""

    DEFAULT_CSS = """
    StatusLine { height: 1; background: $panel; color: $foreground; padding: 0 1; }
    """

    model: reactive[str] = reactive("no model")
    backend: reactive[str] = reactive("")
    device: reactive[str] = reactive("")
    doing: reactive[str] = reactive("")
    used: reactive[int] = reactive(0)
    context: reactive[int] = reactive(0)

    def render(self) -> RenderResult:
        """What fits: the meter stays, the device goes first, the rest is cut."""
        meter = self.meter()
        room = max(0, self.content_size.width - meter.cell_length - 1)
        on = f"{self.backend} on {self.device}" if self.device else self.backend
        for backend in (on, self.backend):
            names = " · ".join(filter(None, map(shown, (self.model, backend, self.doing))))
            if len(names) <= room:
                break
        left = Content(names).truncate(room, ellipsis=True, pad=True)
        return Content.assemble(left, " ", meter)

    def meter(self) -> Content:
        """How full the context is, in words as well as in colour."""
        if not self.context:
            return Content("")
        share = min(1.0, self.used / self.context)
        filled = round(share * _BAR)
        tone = "error" if share >= ALARMS else "warning" if share >= WARNS else ""
        style = f"bold $foreground on ${tone}-muted" if tone else ""
        word = " nearly full" if share >= ALARMS else " filling up" if share >= WARNS else ""
        bar = "━" * filled + "─" * (_BAR - filled)
        text = f"{bar} {self.used} of {self.context} tokens{word}"
        return Content.styled(text, style) if style else Content(text)
