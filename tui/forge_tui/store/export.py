"""A conversation as a document for people, or as data with all its branches."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict

from forge import __version__
from forge_tui.store.records import Conversation, Message

FORMAT = "forge-conversation"
"""What the JSON calls itself."""
_NAMES = {"user": "You", "assistant": "Assistant", "system": "System"}


def markdown(talk: Conversation, shown: Sequence[Message]) -> str:
    """The branch that is read, a heading a turn."""
    about = [f"*{_when(talk.created)}*"] + ([f"*{talk.model}*"] if talk.model else [])
    parts = [f"# {_line(talk.title) or 'Conversation'}", " · ".join(about)]
    if talk.system:
        parts += ["## System", talk.system.strip()]
    for message in shown:
        backend = f" ({message.backend})" if message.backend else ""
        parts += [f"## {_NAMES.get(message.role, _line(message.role))}{backend}"]
        parts += [message.text.strip()] if message.text.strip() else []
        if message.state != "complete":
            parts += ["*(stopped here)*"]
    return "\n\n".join(parts) + "\n"


def as_json(talk: Conversation, shown: Sequence[Message], everything: Sequence[Message]) -> str:
    """Every branch; `current` are the ids of the one that is read, in order."""
    about = asdict(talk)
    del about["messages"]
    found = {
        "format": FORMAT,
        "version": 1,
        "forge": __version__,
        **about,
        "current": [message.id for message in shown],
        "messages": [asdict(message) for message in everything],
    }
    return json.dumps(found, ensure_ascii=False, indent=2) + "\n"


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _line(words: str) -> str:
    return " ".join(words.split())
