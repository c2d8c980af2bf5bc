"""The conversations that were kept: type to find one, Enter opens it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypeVar

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Input, Label, OptionList, Static
from textual.widgets.option_list import Option

from forge import ForgeError, UsageError
from forge_tui.sessions.export_file import format_of, write_new
from forge_tui.sessions.words import file_name, line, preview
from forge_tui.store import Conversation, Store, Undo
from forge_tui.text.shown import shown

T = TypeVar("T")
Ask: TypeAlias = Callable[[Callable[[Store], Any]], "Future[Any]"]
"""Asks the store something, in a thread that may wait for a disk."""
_HINT = "type to find a conversation"


class SessionsScreen(Screen[int | None]):
    """Gives the conversation to go on with, None for none.

    now: the one that is open. What is deleted can be brought back as long as the store is open.
    """

    DEFAULT_CSS = """
    SessionsScreen #sessions-about { padding: 0 1; height: auto; }
    SessionsScreen #sessions-body { height: 1fr; }
    SessionsScreen OptionList { width: 1fr; height: 1fr; }
    SessionsScreen #sessions-preview { width: 1fr; height: 1fr; padding: 0 1; display: none; }
    SessionsScreen.-wide #sessions-preview { display: block; }
    SessionsScreen Input > .input--placeholder { color: $foreground 80%; }
    SessionsScreen FooterKey .footer-key--key { color: $foreground; }
    """
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012  # as Textual types it
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", priority=True),
        Binding("enter", "open", "Open", priority=True),
        Binding("f2", "rename", "Rename", priority=True),
        Binding("f4", "fork", "Fork", priority=True),
        Binding("f6", "export", "Export", priority=True),
        Binding("f8", "delete", "Delete", priority=True),
        Binding("ctrl+z", "undo", "Undo", priority=True),
        Binding("down", "move(1)", "Down", show=False, priority=True),
        Binding("up", "move(-1)", "Up", show=False, priority=True),
        Binding("pagedown", "move(10)", "Page down", show=False, priority=True),
        Binding("pageup", "move(-10)", "Page up", show=False, priority=True),
    ]

    def __init__(
        self, ask: Ask, now: int | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__()
        self._ask = ask
        self._now = now
        self._clock = clock
        self._found: list[Conversation] = []
        self._undos: list[Undo] = []
        self._entering: Callable[[str], object] | None = None

    def compose(self) -> ComposeResult:
        """A line to type in, a line of news, the list, and how the chosen one ended."""
        yield Input(placeholder=_HINT, id="sessions-search")
        yield Label("", id="sessions-about", markup=False)
        with Horizontal(id="sessions-body"):
            yield OptionList(id="sessions-list", markup=False)
            with VerticalScroll(id="sessions-preview"):
                yield Static("", id="sessions-messages", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Everything is listed, and can be narrowed down at once."""
        self.query_one("#sessions-list").can_focus = False  # the arrow keys reach it anyway
        self.line.focus()
        self.search()

    @property
    def deleted(self) -> set[int]:
        """What was deleted here and not brought back: who shows one should begin another."""
        return {undo.conversation for undo in self._undos}

    @property
    def line(self) -> Input:
        """Where a search, a title or a file's name is typed."""
        return self.query_one("#sessions-search", Input)

    @property
    def chosen(self) -> Conversation | None:
        """The conversation that is highlighted."""
        place = self.query_one(OptionList).highlighted
        return self._found[place] if place is not None and place < len(self._found) else None

    async def _answer(self, question: Callable[[Store], T]) -> T | None:
        """What the store says; None where it cannot, which is told, or the screen is left."""
        try:
            found: T = await asyncio.wrap_future(self._ask(question))
        except (ForgeError, RuntimeError) as error:
            if self._here:
                self.say(str(error))
            return None
        return found if self._here else None

    @property
    def _here(self) -> bool:
        """Whether its widgets are still there: an answer may come when they are not."""
        return all(self.query(name) for name in ("#sessions-about", "#sessions-messages"))

    def say(self, words: str) -> None:
        """Something that the person should know."""
        self.query_one("#sessions-about", Label).update(shown(words))

    @on(Input.Changed)
    def typed(self) -> None:
        """Narrow the list down."""
        if self._entering is None:
            self.search()

    @work(exclusive=True, group="search")
    async def search(self, choose: int | None = None) -> None:
        """List what has every word; `choose` is highlighted."""
        words = self.line.value if self._entering is None else ""
        found = await self._answer(lambda store: store.conversations(words))
        if found is None:
            return
        wanted = choose or (self.chosen.id if self.chosen else None)
        self._found = found
        listed = self.query_one(OptionList)
        listed.clear_options()
        now = self._clock()
        listed.add_options([Option(line(talk, now, self._now)) for talk in found])
        numbers = [talk.id for talk in found]
        listed.highlighted = numbers.index(wanted) if wanted in numbers else 0 if found else None
        if not found:
            none = "nothing was found" if words.strip() else "no conversation is kept"
            listed.add_option(Option(none, disabled=True))
            self.query_one("#sessions-messages", Static).update("")

    @on(OptionList.OptionHighlighted)
    @work(exclusive=True, group="preview")
    async def highlighted(self) -> None:
        """Show how it ended."""
        if (talk := self.chosen) and (
            messages := await self._answer(lambda store: store.messages(talk.id))
        ) is not None:
            self.query_one("#sessions-messages", Static).update(preview(talk, messages))

    @on(OptionList.OptionSelected)
    def clicked(self) -> None:
        """A click opens it."""
        self.action_open()

    def action_move(self, step: int) -> None:
        """Go up or down in the list, whatever has the focus."""
        listed = self.query_one(OptionList)
        if self._found and listed.highlighted is not None:
            listed.highlighted = min(len(self._found) - 1, max(0, listed.highlighted + step))

    def action_open(self) -> None:
        """Take what was typed, or go on with the chosen one."""
        if self._entering is not None:
            entered, text = self._entering, self.line.value.strip()
            if text:
                entered(text)
        elif self.chosen:
            self.dismiss(self.chosen.id)

    def action_back(self) -> None:
        """Leave what is being typed, or the screen."""
        if self._entering is not None:
            self._leave_entry()
        else:
            self.dismiss(None)

    def _enter(self, what: str, start: str, then: Callable[[str], object]) -> None:
        self._entering = then
        self.line.placeholder = what
        self.line.value = start
        self.line.select_all()
        self.say(f"{what}: Enter takes it, Esc leaves it")

    def _leave_entry(self, news: str = "", choose: int | None = None) -> None:
        self._entering = None
        self.line.placeholder = _HINT
        self.line.value = ""
        self.say(news)
        self.search(choose)

    def action_rename(self) -> None:
        """Give the chosen one another title."""
        if talk := self.chosen:
            self._enter("another title", talk.title, lambda title: self.rename(talk, title))

    @work(group="change")
    async def rename(self, talk: Conversation, title: str) -> None:
        """Save the title."""
        if await self._answer(lambda store: store.rename(talk.id, title)):
            self._leave_entry(f"renamed: {title}", talk.id)

    @work(group="change")
    async def action_fork(self) -> None:
        """Copy the chosen one, to go on differently."""
        talk = self.chosen
        if talk is None or talk.leaf is None:
            self.say("there is nothing to copy yet")
            return
        leaf = talk.leaf
        if fork := await self._answer(lambda store: store.fork(talk.id, leaf)):
            self.search(fork.id)
            self.say(f"copied as {fork.title}")

    @work(group="change")
    async def action_delete(self) -> None:
        """Delete the chosen one."""
        if (talk := self.chosen) and (
            undo := await self._answer(lambda store: store.delete(talk.id))
        ):
            self._undos.append(undo)
            self.search()
            self.say(f"deleted: {talk.title or 'an empty conversation'}. Ctrl+Z brings it back")

    @work(group="change")
    async def action_undo(self) -> None:
        """Bring back what was deleted last."""
        if not self._undos:
            self.say("nothing was deleted here")
            return
        undo = self._undos.pop()
        if back := await self._answer(lambda store: store.undelete(undo)):
            self.search(back.id)
            self.say(f"back again: {back.title}")

    def action_export(self) -> None:
        """Write the chosen one to a file."""
        if talk := self.chosen:
            what = "a file to write, .md or .json"
            self._enter(what, file_name(talk), lambda name: self.export(talk, name))

    @work(group="change")
    async def export(self, talk: Conversation, name: str) -> None:
        """Save the export; the name can be changed where that fails."""
        path = Path(name).expanduser()
        try:
            format = format_of(path)
            text = await self._answer(lambda store: store.export(talk.id, format))
            if text is not None:
                await asyncio.to_thread(write_new, path, text)
                self._leave_entry(f"written: {path.absolute()}", talk.id)
        except UsageError as error:
            self.say(str(error))
