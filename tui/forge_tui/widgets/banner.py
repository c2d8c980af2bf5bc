"""A line that says what happened, and where to read more; it takes nothing away."""

from __future__ import annotations

from textual.content import Content
from textual.widgets import Static

from forge_tui.text.shown import shown


class Banner(Static):
    """Owns the last thing that a person ought to know; hidden while there is none."""

    DEFAULT_CSS = """
    Banner { height: auto; max-height: 3; display: none; padding: 0 1; }
    Banner.-told { display: block; background: $warning 20%; color: $foreground; }
    Banner.-error { background: $error 20%; color: $foreground; }
    """

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id, markup=False)
        self.details = ""

    def tell(self, text: str, details: str = "", *, error: bool = False) -> None:
        """Show it until the next one, or until it is dismissed."""
        self.details = details
        self.set_class(True, "-told")
        self.set_class(error, "-error")
        self.update(Content(shown(text)))

    def dismiss(self) -> None:
        """There is nothing to say any more."""
        self.details = ""
        self.set_class(False, "-told")
