"""How the next token is chosen, checked by the engine's own rules before it is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Input, Label

from forge_tui.screens.box import Box

LENGTH = "max_tokens"
FIELDS: tuple[tuple[str, type[int] | type[float], str], ...] = (
    ("temperature", float, "0 always takes the likeliest token"),
    ("top_k", int, "only the K likeliest; 0 is all"),
    ("top_p", float, "only the likeliest that make up P together"),
    ("min_p", float, "only those with that share of the likeliest's chance"),
    ("repeat_penalty", float, "above 1: tokens seen before are less likely"),
    ("presence_penalty", float, "less likely once they appeared"),
    ("frequency_penalty", float, "less likely each time they appeared"),
    ("seed", int, "the same seed draws the same reply; empty draws another"),
    (LENGTH, int, "a reply's most tokens; empty has no limit"),
)


class Sampling(Box[dict[str, Any]]):
    """Gives what differs from the defaults, and `max_tokens`."""

    DEFAULT_CSS = """
    Sampling VerticalScroll { height: auto; max-height: 18; }
    Sampling Horizontal { height: 1; }
    Sampling Horizontal Label { width: 20; }
    Sampling Horizontal Input { width: 12; }
    Sampling Horizontal .about { width: 1fr; padding-left: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+s,enter", "save", "Save")]

    def __init__(self, chosen: Mapping[str, Any], max_tokens: int | None) -> None:
        super().__init__()
        self._chosen = {**chosen, LENGTH: max_tokens}

    def compose(self) -> ComposeResult:
        """A line for each parameter; what is empty is the default."""
        from forge import SamplingParams

        usual = SamplingParams()
        with Vertical() as box:
            box.border_title = "Sampling"
            box.border_subtitle = "Enter: save · Esc: leave it as it was"
            with VerticalScroll(can_focus=False):
                for name, _, about in FIELDS:
                    value, default = self._chosen.get(name), getattr(usual, name, None)
                    with Horizontal():
                        yield Label(name)
                        yield Input(
                            "" if value is None else f"{value:g}" if name != "seed" else str(value),
                            placeholder="" if default is None else f"{default:g}",
                            id=name,
                            compact=True,
                        )
                        yield Label(about, classes="about")
            yield Label("", classes="wrong", markup=False)
            yield Button("Save", variant="primary", compact=True)

    def on_input_submitted(self) -> None:
        """Enter in a field saves."""
        self.action_save()

    def on_button_pressed(self) -> None:
        """The same."""
        self.action_save()

    def action_save(self) -> None:
        """Take it, or say what is wrong with it."""
        from forge import SamplingParams, UsageError

        known = {name for name, _, _ in FIELDS}
        found = {name: value for name, value in self._chosen.items() if name not in known}
        wrong = self.query_one(".wrong", Label)
        for name, kind, _ in FIELDS:
            typed = self.query_one(f"#{name}", Input).value.strip()
            if not typed:
                continue
            try:
                found[name] = kind(typed)
            except ValueError:
                what = "a whole number" if kind is int else "a number"
                wrong.update(f"{name}: {typed!r:.40} is not {what}")
                return
        length = found.pop(LENGTH, None)
        try:
            SamplingParams(**found)
        except UsageError as error:
            wrong.update(str(error))
            return
        if length is not None and length < 1:
            wrong.update(f"{LENGTH}: ask for at least 1")
            return
        self.dismiss({**found, LENGTH: length})
