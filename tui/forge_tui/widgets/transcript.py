"""The conversation: lines are drawn when they are seen, so its length costs nothing."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.selection import Selection
from textual.strip import Strip

from forge_tui.widgets.entry import INDENT, Entry, Part, Role

if TYPE_CHECKING:
    from forge_tui.text.draw import Pen

_ROOM = 2
"""Columns at the right."""


class Transcript(ScrollView, can_focus=True):
    """Owns the entries on the screen and where they are; follows the end while it is in sight."""

    DEFAULT_CSS = """
    Transcript { height: 1fr; background: $background; scrollbar-size-vertical: 1;
        overflow-x: hidden; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        ("up,k", "choose(-1)", "Earlier message"),
        ("down,j", "choose(1)", "Later message"),
        ("space", "fold", "Reasoning"),
        ("e", "app.edit", "Edit"),
        ("r", "app.again", "Again"),
        ("left_square_bracket", "app.branch(-1)", "Branch before"),
        ("right_square_bracket", "app.branch(1)", "Branch after"),
        ("c", "copy_code", "Copy code"),
        ("y", "copy_message", "Copy message"),
        ("pageup", "page_up", "Page up"),
        ("pagedown", "page_down", "Page down"),
        ("home", "scroll_home", "Beginning"),
        ("end", "scroll_end", "End"),
    ]

    @dataclass
    class Copied(Message):
        """The person wants a text in the clipboard; `what` it is, in words."""

        text: str
        what: str

    @dataclass
    class Chosen(Message):
        """The person went to another message; None to none."""

        key: int | None

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.entries: list[Entry] = []
        self.chosen: int | None = None
        """The entry's place in `entries`."""
        self._drawing: Pen | None = None
        self._base: Style | None = None
        self._age = 0
        self._parts: list[Part] = []
        self._owners: list[int] = []
        self._tops: list[int] = [0]
        self._following = True
        self.border_title = "conversation"

    def on_mount(self) -> None:
        """Take the theme's colours, and again when it changes."""
        self._take_colours()
        self.app.theme_changed_signal.subscribe(self, lambda _: self._take_colours())

    def _take_colours(self) -> None:
        self._drawing = None
        self._age += 1
        self._place(0)

    @property
    def _pen(self) -> Pen:
        if self._drawing is None:
            from forge_tui.text.draw import Pen  # the first paint does not wait for it

            dark = self.app.current_theme.dark
            self._drawing = Pen(self.app.get_css_variables(), dark=dark)
        return self._drawing

    @property
    def text_width(self) -> int:
        """Columns of a message."""
        return max(10, self.scrollable_content_region.width - INDENT - _ROOM)

    def show(self, entries: list[Entry]) -> None:
        """Another conversation, from its end."""
        self.entries, self.chosen, self._following = entries, None, True
        self._place(0)

    def add(self, key: int, role: Role, heading: str, text: str = "") -> Entry:
        """One more message at the end."""
        entry = Entry(key, role, heading, text)
        self.entries.append(entry)
        if role == "user":
            self._following = True
        self._place(len(self.entries) - 1)
        return entry

    def entry(self, key: int) -> Entry | None:
        """The message of that key."""
        return next((entry for entry in self.entries if entry.key == key), None)

    def grow(self, key: int, text: str) -> None:
        """A message goes on."""
        for place in range(len(self.entries) - 1, -1, -1):
            if self.entries[place].key == key:
                self.entries[place].append(text)
                self._place(place)
                return

    def head(self, key: int, heading: str) -> None:
        """Another heading for a message."""
        for place, entry in enumerate(self.entries):
            if entry.key == key:
                entry.heading = heading
                self._place(place)

    def take_away(self, key: int) -> None:
        """A message is gone."""
        self.entries = [entry for entry in self.entries if entry.key != key]
        self.chosen = None
        self._place(0)

    def _place(self, start: int) -> None:
        """Find out anew where everything from an entry on is."""
        if not self.is_attached:
            return
        keep = bisect_left(self._owners, start)
        before = self._parts[keep:]
        del self._parts[keep:], self._owners[keep:]
        for number in range(start, len(self.entries)):
            parts = self.entries[number].parts(chosen=number == self.chosen)
            self._parts += parts
            self._owners += [number] * len(parts)
        changed = self._take_over(before, keep)
        self._measure(keep)
        was = self.scroll_y
        self._see()
        top = 0 if self.scroll_y != was else max(0, self._tops[changed] - round(was))
        if top < self.size.height:
            self.refresh(Region(0, top, self.size.width, self.size.height - top))

    def _take_over(self, before: list[Part], start: int) -> int:
        """Parts that are as they were keep their lines; the place of the first that is not."""
        changed = len(self._parts)
        for place, (old, new) in enumerate(zip(before, self._parts[start:], strict=False), start):
            if old is not new and old.block == new.block and old.style == new.style:
                self._parts[place] = old
            elif old is not new:
                changed = min(changed, place)
        return min(changed, start + len(before))

    def _measure(self, keep: int = 0) -> None:
        width = self.text_width
        heights = (part.height(width, self._age) for part in self._parts[keep:])
        self._tops[keep:] = accumulate(heights, initial=self._tops[keep] if keep else 0)
        size = Size(self.scrollable_content_region.width, self._tops[-1])
        if size != self.virtual_size:
            self.virtual_size = size

    def _see(self) -> None:
        """Draw what is in sight; the end stays in sight where it was."""
        if not self.size.height or not self._parts:
            return
        width, height = self.text_width, self.size.height
        for _ in range(8):  # each round draws what the round before brought into sight
            top = max(0, self._tops[-1] - height) if self._following else round(self.scroll_y)
            first = max(0, bisect_right(self._tops, top) - 1)
            last = bisect_right(self._tops, top + height)
            undrawn = [p for p in self._parts[first:last] if not p.is_drawn(width, self._age)]
            before = self._tops[first + 1] if first + 1 < len(self._tops) else 0
            for part in undrawn:
                part.strips(self._pen, width, self._age)
            if not undrawn:
                break
            self._measure(first)
            if not self._following and self._tops[first] < top:  # what is in sight stays there
                self.scroll_y += self._tops[first + 1] - before
        if self._following:
            self.scroll_to(y=self._tops[-1], animate=False, immediate=True, force=True)

    def watch_scroll_y(self, old: float, new: float) -> None:
        """Follow the end again when the person comes back to it."""
        super().watch_scroll_y(old, new)
        if new != old:
            self._following = new >= self.max_scroll_y
            self.call_next(self._see)

    def on_resize(self, _: events.Resize) -> None:
        """Everything has another height now."""
        self._measure()
        self._see()

    def render_line(self, y: int) -> Strip:
        """A line in sight."""
        width = self.scrollable_content_region.width
        row = y + round(self.scroll_y)
        number = bisect_right(self._tops, row) - 1
        if not 0 <= number < len(self._parts):
            return Strip.blank(width, self._style())
        strips = self._parts[number].strips(self._pen, self.text_width, self._age)
        inside = row - self._tops[number]
        if inside >= len(strips):
            return Strip.blank(width, self._style()).apply_offsets(0, row)
        found = Strip([Segment(" " * INDENT), *strips[inside]])
        selection = self.text_selection
        if selection is not None and (span := selection.get_span(row)) is not None:
            found = self._selected(found, *span)
        found = found.extend_cell_length(width).crop(0, width)
        return found.apply_style(self._style()).apply_offsets(0, row)

    def _style(self) -> Style:
        if self._base is None:
            self._base = self.rich_style
        return self._base

    def notify_style_update(self) -> None:
        """The theme or the focus has changed."""
        self._base = None
        super().notify_style_update()

    def _selected(self, strip: Strip, start: int, end: int) -> Strip:
        style = self.screen.get_component_rich_style("screen--selection")
        length = strip.cell_length
        end = length if end == -1 else min(end, length)
        before, inside, after = strip.crop(0, start), strip.crop(start, end), strip.crop(end)
        marked = Strip([Segment(s.text, (s.style or Style()) + style, s.control) for s in inside])
        return Strip.join([before, marked, after])

    def get_selection(self, selection: Selection) -> tuple[str, str] | None:
        """The text that was selected with the mouse."""
        rows = []
        for part in self._parts:
            strips = part.strips(self._pen, self.text_width, self._age)
            rows += [" " * INDENT + strip.text.rstrip() for strip in strips]
            rows += [""] * part.block.last
        found = selection.extract("\n".join(rows))
        return "\n".join(row.removeprefix(" " * INDENT) for row in found.split("\n")), "\n"

    def selection_updated(self, selection: Selection | None) -> None:  # noqa: ARG002  # Textual's
        """Show what is selected now."""
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Copy the code whose head was clicked, fold reasoning, or go to the message."""
        number = bisect_right(self._tops, event.y + round(self.scroll_y)) - 1
        if not 0 <= number < len(self._parts):
            return
        part, place = self._parts[number], self._owners[number]
        row = event.y + round(self.scroll_y) - self._tops[number]
        if part.block.kind == "code" and part.block.first and row == 0:
            self.post_message(self.Copied(self._whole_code(number), "code"))
        elif part.style == "muted" and self.entries[place].role == "assistant":
            self.entries[place].unfolded = not self.entries[place].unfolded
            self._place(place)

    def _whole_code(self, number: int) -> str:
        """A block of code of which this is the first part."""
        found = [self._parts[number].block.source]
        while not self._parts[number].block.last and number + 1 < len(self._parts):
            number += 1
            found.append(self._parts[number].block.source)
        return "\n".join(found)

    def action_choose(self, step: int) -> None:
        """Go to the message before or after."""
        if not self.entries:
            return
        start = len(self.entries) if self.chosen is None else self.chosen
        self.chosen = min(max(0, start + step), len(self.entries) - 1)
        self._place(0)
        top = self._tops[self._owners.index(self.chosen)]
        height = self.size.height
        if not self.scroll_y <= top < self.scroll_y + height - 2:
            self.scroll_to(y=max(0, top - 1), animate=False)
        self.post_message(self.Chosen(self.entries[self.chosen].key))

    def action_fold(self) -> None:
        """Show or hide the reasoning of the message."""
        entry = self._meant()
        if entry:
            entry.unfolded = not entry.unfolded
            self._place(self.entries.index(entry))

    def action_copy_code(self) -> None:
        """Copy the last block of code of the message."""
        from forge_tui.text.blocks import code_blocks

        entry = self._meant()
        found = code_blocks(entry.text) if entry else []
        self.post_message(self.Copied(found[-1] if found else "", "code"))

    def action_copy_message(self) -> None:
        """Copy the message."""
        entry = self._meant()
        self.post_message(self.Copied(entry.text if entry else "", "message"))

    def _meant(self) -> Entry | None:
        """The message that was chosen, or the last reply."""
        if self.chosen is not None and self.chosen < len(self.entries):
            return self.entries[self.chosen]
        replies = [entry for entry in self.entries if entry.role == "assistant"]
        return replies[-1] if replies else None
