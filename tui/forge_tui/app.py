"""The chat as a program."""

from __future__ import annotations

import signal
from typing import Any, ClassVar

from textual.binding import Binding, BindingType

from forge_tui.engine_thread import Choices
from forge_tui.replies import Replies
from forge_tui.talk import Talk


class ChatApp(Replies):
    """Owns what a person can ask for."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "leave", "Quit", priority=True),
        Binding("escape", "stop", "Stop", priority=False),
    ]

    def on_mount(self) -> None:
        """Ready to type first; everything else comes behind it."""
        self.composer.focus()
        self.call_after_refresh(self.begin)

    def action_stop(self) -> None:
        """End the reply, or take back what waits, or hide the banner."""
        if self.talk.request:
            self.stop()
        elif self.talk.waiting:
            self.composer.fill(self.talk.waiting.pop())
            self.show_path()
        else:
            self.banner.dismiss()

    def action_leave(self) -> None:
        """End the chat."""
        self.stop()
        self.exit(0)

    def on_unmount(self) -> None:
        """No worker stays behind."""
        self.engine.close()


def run(
    model: str | None,
    backend: str,
    options: dict[str, Any],
    *,
    system: str | None = None,
    sampling: dict[str, Any] | None = None,
    max_tokens: int | None = None,
) -> int:
    """Chat until the person leaves; the exit code."""
    talk = Talk(system or "", sampling or {}, max_tokens)
    app = ChatApp(talk, Choices(model, backend, options))

    def leave(_: int, __: object) -> None:
        app.call_later(app.exit, 0)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    code = app.run()
    return app.return_code or 0 if code is None else code
