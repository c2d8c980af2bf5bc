"""What every screen over the chat has: a box with a title, and Esc leaves it."""

from __future__ import annotations

from typing import ClassVar, Generic, TypeVar

from textual.binding import Binding, BindingType
from textual.screen import ModalScreen

R = TypeVar("R")


class Box(ModalScreen[R | None], Generic[R]):
    """A screen that gives an answer, or None when it is left."""

    DEFAULT_CSS = """
    Box { align: center middle; background: $background 60%; }
    Box > Vertical {
        width: 76; max-width: 96%; height: auto; max-height: 90%; padding: 0 1;
        border: round $primary; background: $background;
    }
    Box Label { width: 1fr; height: auto; }
    Box .about { color: $foreground 70%; }
    Box .wrong { color: $text-error; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back")]

    def action_leave(self) -> None:
        """Nothing changes."""
        self.dismiss(None)
