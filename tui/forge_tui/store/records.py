"""What the store gives back: frozen records, read leniently: somebody may have edited the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from forge import ForgeError

State: TypeAlias = Literal["complete", "stopped", "streaming"]
"""Whole; ended by the person, a failure or a crash; or still being written."""

_STATES: tuple[State, ...] = ("complete", "stopped", "streaming")


class HistoryError(ForgeError):
    """A conversation cannot be read or saved; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A tree of messages and the settings it goes on with.

    created, updated: seconds since 1970. leaf: the message that is read last, None while there is
    none; messages: how many there are, those of other branches too.
    """

    id: int
    title: str
    created: float
    updated: float
    model: str = ""
    system: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    leaf: int | None = None
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. parent: the message that it answers or follows, None for the first.

    tokens: how many the model read or wrote for it, 0 if unknown. created: seconds since 1970.
    meta: what else is worth keeping, such as timings, the finish reason and fallbacks.
    """

    id: int
    parent: int | None
    role: str
    text: str
    tokens: int = 0
    state: State = "complete"
    backend: str = ""
    created: float = 0.0
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Undo:
    """Takes back a deletion, while the store that deleted is open."""

    conversation: int
    title: str
    deleted: float


CONVERSATION = (
    "id, title, created, updated, model, system, params, leaf,"
    " (SELECT count(*) FROM messages WHERE messages.conversation = conversations.id)"
)
"""The columns that `conversation` reads."""

MESSAGE = "id, parent, role, text, tokens, state, backend, created, meta"
"""The columns that `message` reads."""


def conversation(row: Sequence[Any]) -> Conversation:
    """A row of CONVERSATION."""
    number, title, created, updated, model, system, params, leaf, messages = row
    return Conversation(
        *(int(number), text(title), real(created), real(updated), text(model), text(system)),
        *(unpacked(params), leaf if isinstance(leaf, int) else None, int(messages)),
    )


def message(row: Sequence[Any], pieces: str = "", tokens: int = 0) -> Message:
    """A row of MESSAGE, with what was saved of it since."""
    number, parent, role, said, count, state, backend, created, meta = row
    return Message(
        id=int(number),
        parent=parent if isinstance(parent, int) else None,
        role=text(role),
        text=text(said) + pieces,
        tokens=int(real(count)) + tokens,
        state=state if state in _STATES else "stopped",
        backend=text(backend),
        created=real(created),
        meta=unpacked(meta),
    )


def packed(values: Mapping[str, Any]) -> str:
    """Values as JSON. HistoryError where they have none."""
    try:
        return clean(json.dumps(dict(values), ensure_ascii=False, sort_keys=True))
    except (TypeError, ValueError) as error:
        raise HistoryError(f"this cannot be saved as JSON: {error}") from None


def unpacked(stored: object) -> dict[str, Any]:
    """What `packed` made; nothing where it is damaged."""
    try:
        found = json.loads(text(stored))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def clean(words: str) -> str:
    """Without lone surrogates, which a terminal may pass on and no UTF-8 file can hold."""
    return words.encode(errors="replace").decode()


def text(value: object) -> str:
    """A text, also where somebody stored something else."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return "" if value is None else str(value)


def real(value: object) -> float:
    """A number, 0 where there is none."""
    return float(value) if isinstance(value, int | float) else 0.0
