"""Conversations in words: a line of the list, the preview, and a name for a file."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from textual.content import Content

from forge_tui.store import Conversation, Message
from forge_tui.text.shown import shown

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_LONGEST_MESSAGE = 1500
_LONGEST_NAME = 60
_PREVIEWED = 12


def line(talk: Conversation, now: float, current: int | None) -> Content:
    """A conversation in the list; the one that is open is marked."""
    mark = "● " if talk.id == current else ""
    count = "1 message" if talk.messages == 1 else f"{talk.messages} messages"
    about = " · ".join(part for part in (ago(talk.updated, now), count, talk.model) if part)
    title = shown(talk.title) or "(nothing said yet)"
    return Content.assemble((f"{mark}{title}", "bold"), "\n", (f"  {shown(about)}", "$text-muted"))


def ago(then: float, now: float) -> str:
    """How long it is since then; a date where that is more than a week."""
    seconds = now - then
    for most, each, name in (
        (_HOUR, _MINUTE, "minute"),
        (_DAY, _HOUR, "hour"),
        (7 * _DAY, _DAY, "day"),
    ):
        if seconds < most:
            count = int(max(0.0, seconds) // each)
            if name == "minute" and count == 0:
                return "just now"
            return f"1 {name} ago" if count == 1 else f"{count} {name}s ago"
    return time.strftime("%Y-%m-%d", time.localtime(then))


def preview(talk: Conversation, messages: Sequence[Message]) -> Content:
    """How a conversation ended: its last messages."""
    parts: list[Content] = []
    if talk.system:
        parts += [Content.styled("System", "bold $text-muted"), Content(_short(talk.system))]
        parts += [Content("")]
    if (left_out := len(messages) - _PREVIEWED) > 0:
        parts += [Content.styled(f"… {left_out} earlier messages", "$text-muted")]
    for message in messages[-_PREVIEWED:]:
        who = "You" if message.role == "user" else message.role.capitalize()
        backend = f" ({message.backend})" if message.backend else ""
        stopped = "" if message.state == "complete" else ", stopped"
        parts += [
            Content.styled(shown(f"{who}{backend}{stopped}"), "bold $text-primary"),
            Content(_short(message.text)),
            Content(""),
        ]
    return Content("\n").join(parts)


def _short(text: str) -> str:
    cut = text.strip()[:_LONGEST_MESSAGE]
    return shown(cut + (" …" if len(text.strip()) > _LONGEST_MESSAGE else ""))


def file_name(talk: Conversation) -> str:
    """A name for its export that any file system takes."""
    words = re.sub(r"[^\w]+", "-", talk.title.lower()).strip("-")[:_LONGEST_NAME].strip("-")
    return f"{words or f'conversation-{talk.id}'}.md"
