"""The chat's screen and what is shown on it; it knows nothing of an engine."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Footer

from forge_tui.talk import Talk
from forge_tui.tree import Node
from forge_tui.widgets.banner import Banner
from forge_tui.widgets.composer import Composer
from forge_tui.widgets.entry import Entry
from forge_tui.widgets.status_line import StatusLine
from forge_tui.widgets.transcript import Transcript

WELCOME = 0
"""The key of the transcript's own remarks: no message has it."""


class ChatView(App[int]):
    """Owns the widgets; the conversation is `talk`."""

    TITLE = "forge chat"
    CSS = """
    Screen { layers: base over; }
    #middle { height: 1fr; }
    Footer { dock: none; }
    FooterKey .footer-key--key { color: $foreground; }
    """
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = True

    def __init__(self, talk: Talk) -> None:
        super().__init__()
        self.talk = talk
        self.model = ""
        # Kept here: what is asked of the app is looked for on the screen on top.
        self.status = StatusLine(id="status")
        self.transcript = Transcript(id="transcript")
        self.banner = Banner(id="banner")
        self.composer = Composer(id="composer")

    def compose(self) -> ComposeResult:
        """The status above, the conversation, and the message below."""
        with Vertical():
            yield self.status
            with Horizontal(id="middle"):
                yield self.transcript
            yield self.banner
            yield self.composer
            yield Footer(compact=True, show_command_palette=False)

    def remark(self, text: str, *, warning: bool = False) -> None:
        """A line of forge's own in the conversation."""
        self.transcript.add(WELCOME, "warning" if warning else "note", text)

    def show_path(self) -> None:
        """The branch that is looked at, all of it, and what waits after it."""
        entries = []
        for place, node in enumerate(self.talk.tree.path()):
            if self.talk.unseen and place == self.talk.unseen:
                entries.append(
                    Entry(WELCOME, "note", "── the model no longer sees what is above ──")
                )
            entries.append(Entry(node.key, node.role, self.heading(node), node.text))
        self.transcript.show(entries)
        for text in self.talk.waiting:
            self.show_waiting(text)

    def show_waiting(self, text: str) -> None:
        """A message that is answered later."""
        self.transcript.add(
            WELCOME - 1, "user", "You, waiting to be answered (Esc takes it back)", text
        )

    def heading(self, node: Node) -> str:
        """Who said it, what became of it, and which branch it is."""
        branches = self.talk.tree.siblings(node)
        parts = ["You" if node.role == "user" else self.model or "Assistant"]
        if node.role == "assistant":
            parts += [node.backend] if node.backend else []
            parts += [_figures(node.tokens, node.meta)] if node.tokens else []
            parts += [node.state] if node.state in ("stopped", "failed") else []
            parts += ["ended at its limit"] if node.meta.get("reason") == "length" else []
            parts += ["the context is full"] if node.meta.get("reason") == "context" else []
        if len(branches) > 1:
            parts.append(f"‹{branches.index(node) + 1} of {len(branches)}›")
        return " · ".join(parts)


def _figures(tokens: int, meta: dict[str, Any]) -> str:
    pace = meta.get("decode_tok_s")
    return f"{tokens} tokens" + (f" at {pace:.0f}/s" if pace else "")
