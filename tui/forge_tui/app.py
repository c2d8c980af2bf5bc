"""The chat as a program: every command, and its start and end."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar

from textual import on
from textual.app import SystemCommand
from textual.binding import Binding, BindingType
from textual.screen import Screen

from forge_tui.commands import COMMANDS, Command, help_text, said
from forge_tui.engine_thread import Choices
from forge_tui.talk import Talk
from forge_tui.tree import Node, Tree
from forge_tui.watching import Watching
from forge_tui.widgets.composer import Composer
from forge_tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from forge_tui.store import Store

FIRST_PAINT = 0.05
"""Seconds that the terminal gets for the first screen, before imports keep this process busy."""


class ChatApp(Watching):
    """Owns what a person can ask for; `editing` is the message that is being changed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "stop", "Stop"),
        *(
            Binding(c.key, c.action, c.title, show=c.shown, priority=c.key.startswith("f"))
            for c in COMMANDS
            if c.key
        ),
        Binding("ctrl+q", "leave", "Quit", priority=True),
    ]
    editing: Node | None = None
    resuming = False

    def on_mount(self) -> None:
        """Ready to type first; everything else comes behind it."""
        self.composer.focus()
        self.call_after_refresh(self.set_timer, FIRST_PAINT, self.begin)

    def begin(self) -> None:
        """Load the model, and open what was kept."""
        super().begin()
        if self.archive:
            self.archive.start()
            if self.resuming:
                self.resume()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing but leaving is done to the chat while something lies over it."""
        del parameters
        ours = {command.action.partition("(")[0] for command in COMMANDS} - {
            "leave",
            "change_theme",
        }
        return not (action in ours and len(self.screen_stack) > 1)

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """The palette has every command of ours."""
        del screen
        for command in COMMANDS:
            yield SystemCommand(command.title, command.help, self._runner(command))

    def _runner(self, command: Command) -> Any:
        async def run() -> None:
            await self.run_action(command.action)

        return run

    @on(Composer.Submitted)
    async def submitted(self, event: Composer.Submitted) -> None:
        """A message, a command, or a message in the place of another one."""
        if (command := said(event.text)) is not None:
            await self._command(*command)
        elif self.editing is not None:
            self._resend(event.text)
        else:
            self.send(event.text)

    async def _command(self, command: Command, rest: str) -> None:
        match command.word:
            case "system" if rest:
                self.set_system(rest)
            case "model" if rest:
                self.load_named(rest)
            case _:
                await self.run_action(command.action)

    def action_stop(self) -> None:
        """End the reply, or take back what waits, or leave the edit, or hide the banner."""
        if self.talk.request:
            self.stop()
        elif self.summing:
            self.engine.stop(self.summing)
        elif self.talk.waiting:
            self.composer.fill(self.talk.waiting.pop())
            self.show_path()
        elif self.editing is not None:
            self._edit(None)
        else:
            self.banner.dismiss()

    def action_edit(self) -> None:
        """Change the chosen message, or the last one, and send it again."""
        node = self._asked()
        if node is not None:
            self._edit(node)

    def _edit(self, node: Node | None) -> None:
        self.editing = node
        self.composer.border_subtitle = (
            "editing: Enter sends it as a branch, Esc leaves" if node else ""
        )
        self.composer.fill(node.text if node else "")

    def _resend(self, text: str) -> None:
        node = self.editing
        self._edit(None)
        if node is None or self.loaded is None:
            self.banner.tell("the model is not loaded yet: send it again in a moment")
            self.composer.fill(text)
            return
        self.stop()
        self.asked_anew(self.talk.tree.add("user", text, node.parent))
        self._answer_here()

    def action_again(self) -> None:
        """Answer the chosen message, or the last one, once more."""
        node = self._asked()
        if node is None or self.loaded is None:
            return
        self.stop()
        self.talk.tree.leaf = node
        self._answer_here()

    def _answer_here(self) -> None:
        self.talk.unseen = min(self.talk.unseen, max(0, len(self.talk.tree.path()) - 1))
        self.show_path()
        self.answer()

    def _asked(self) -> Node | None:
        """The person's message that is meant: the chosen one, or what the chosen reply answers."""
        node = self._chosen() or self.talk.tree.leaf
        while node is not None and node.role != "user":
            node = node.parent
        return node

    def _chosen(self) -> Node | None:
        place = self.transcript.chosen
        if place is None or place >= len(self.transcript.entries):
            return None
        return self.talk.tree.find(self.transcript.entries[place].key)

    def action_branch(self, step: int) -> None:
        """Look at the answer or message beside the chosen one, or beside the last that has any."""
        self.stop()
        path = self.talk.tree.path()
        node = self._chosen()
        if node is None or len(self.talk.tree.siblings(node)) == 1:
            many = [each for each in path if len(self.talk.tree.siblings(each)) > 1]
            if not many:
                self.banner.tell("there is one branch: Ctrl+R answers again, F8 edits")
                return
            node = many[-1]
        self.turned(self.talk.tree.turn(node, step))
        self.show_path()

    def action_new(self) -> None:
        """Begin another conversation; this one stays saved."""
        self.new_chat()

    def new_chat(self) -> None:
        """With the same model, system prompt and settings."""
        self.stop()
        talk = self.talk
        talk.tree, talk.waiting = Tree(), []
        talk.unseen, talk.summary, talk.used = 0, "", 0
        self.editing = None
        if self.archive:
            self.archive.begin()
        self.status.used = 0
        self.banner.dismiss()
        self.transcript.show([])
        self.composer.focus()

    def action_copy_code(self) -> None:
        """The last block of code."""
        self.transcript.action_copy_code()

    def action_copy_message(self) -> None:
        """The last reply."""
        self.transcript.action_copy_message()

    @on(Transcript.Copied)
    def copied(self, event: Transcript.Copied) -> None:
        """Into the clipboard, by the terminal's own means."""
        if event.text:
            self.copy_to_clipboard(event.text)
            self.notify(
                f"copied: {event.what}, {len(event.text)} characters", timeout=2, markup=False
            )
        else:
            self.notify(f"there is no {event.what} to copy", timeout=2, markup=False)

    def action_help(self) -> None:
        """Every key and command."""
        from forge_tui.screens.reader import Reader

        self.push_screen(Reader("Help", help_text(), markdown=True))

    def action_details(self) -> None:
        """All that is known of what happened."""
        from forge_tui.screens.reader import Reader

        log = self.engine.log_tail()
        text = self.banner.details or "Nothing has happened that you ought to know."
        self.push_screen(
            Reader("What happened", f"{text}\n\nThe worker's log:\n{log or '(empty)'}")
        )

    def action_leave(self) -> None:
        """End the chat."""
        self.stop()
        self.exit(0)

    def on_unmount(self) -> None:
        """No worker stays behind."""
        self.close_feed()
        self.engine.close()
        if self.archive:
            self.archive.close()


def open_store() -> Store:
    """The person's conversations, in forge's state folder."""
    from forge import state_folder
    from forge_tui.store import Store  # the first paint does not wait for it

    return Store(state_folder() / "conversations.db")


def run(
    model: str | None,
    backend: str,
    options: dict[str, Any],
    *,
    system: str | None = None,
    sampling: dict[str, Any] | None = None,
    max_tokens: int | None = None,
    resume: bool = False,
) -> int:
    """Chat until the person leaves; the exit code."""
    talk = Talk(system or "", sampling or {}, max_tokens)
    app = ChatApp(talk, Choices(model, backend, options), open_store)
    app.resuming = resume

    def leave(_: int, __: object) -> None:
        app.call_later(app.exit, 0)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    code = app.run()
    return app.return_code or 0 if code is None else code
