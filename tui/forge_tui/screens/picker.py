"""One of several things."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Label, OptionList
from textual.widgets.option_list import Option

from forge_tui.screens.box import Box
from forge_tui.text.shown import shown

Choice = tuple[str, str, str]
"""What it is known by, its name, and a line about it."""


class Picker(Box[str]):
    """Gives what the choice is known by; the one that holds now is marked."""

    DEFAULT_CSS = """
    Picker OptionList, Picker OptionList:focus { height: auto; max-height: 16; border: none; }
    """

    def __init__(
        self, title: str, choices: Sequence[Choice], about: str = "", now: str | None = None
    ) -> None:
        super().__init__()
        self._title, self._choices, self._about, self._now = title, choices, about, now

    def compose(self) -> ComposeResult:
        """The title, what it is about, and a list."""
        with Vertical() as box:
            box.border_title = self._title
            if self._about:
                yield Label(shown(self._about), classes="about", markup=False)
            yield OptionList(*(Option(self._line(choice)) for choice in self._choices))

    def _line(self, choice: Choice) -> Content:
        known, name, about = choice
        mark = "● " if known == self._now else ""
        return Content.assemble(
            (f"{mark}{shown(name)}", "bold"), ("  " if about else ""), shown(about)
        )

    def on_mount(self) -> None:
        """Begin at what holds now."""
        listed = self.query_one(OptionList)
        listed.focus()
        names = [known for known, _, _ in self._choices]
        listed.highlighted = names.index(self._now) if self._now in names else 0 if names else None

    @on(OptionList.OptionSelected)
    def picked(self, event: OptionList.OptionSelected) -> None:
        """This one."""
        self.dismiss(self._choices[event.option_index][0])
