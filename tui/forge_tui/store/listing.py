"""The conversations themselves: make, find, change, hide, erase and copy them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from sqlite3 import Connection
from typing import Any

from forge_tui.store import tree
from forge_tui.store.records import (
    CONVERSATION,
    Conversation,
    Undo,
    clean,
    conversation,
    packed,
)

KEPT_SECONDS = 3600.0
"""After this long, what a program that is gone deleted is erased."""
_LONGEST_TITLE = 200
_LONGEST_NAME = 60


def create(
    db: Connection, model: str, system: str, params: Mapping[str, Any], now: float
) -> Conversation:
    """A new one without a title."""
    added = db.execute(
        "INSERT INTO conversations (title, created, updated, model, system, params)"
        " VALUES ('', ?, ?, ?, ?, ?)",
        (now, now, clean(model), clean(system), packed(params)),
    )
    return one(db, int(added.lastrowid or 0))


def one(db: Connection, number: int) -> Conversation:
    """One that is not deleted."""
    select = f"SELECT {CONVERSATION} FROM conversations WHERE id = ? AND deleted IS NULL"
    if row := db.execute(select, (number,)).fetchone():
        return conversation(row)
    raise tree.gone(number)


def search(db: Connection, words: str) -> list[Conversation]:
    """Those that have every word somewhere, the latest first."""
    select = f"SELECT {CONVERSATION} FROM conversations WHERE deleted IS NULL"
    folded = [word.casefold() for word in clean(words).split()]
    for _ in folded:
        select += (  # as bytes: where somebody stored no UTF-8, a text could not be handed over
            " AND (instr(folded(CAST(title || ' ' || model AS BLOB)), ?)"
            " OR EXISTS (SELECT 1 FROM messages WHERE conversation = conversations.id"
            " AND instr(folded(CAST(text AS BLOB)), ?)))"
        )
    twice = [word for word in folded for _ in range(2)]
    return [
        conversation(row) for row in db.execute(f"{select} ORDER BY updated DESC, id DESC", twice)
    ]


def change(db: Connection, number: int, **values: Any) -> Conversation:
    """Set what is not None."""
    one(db, number)
    for name, value in values.items():
        if value is not None:
            stored = packed(value) if name == "params" else clean(value)
            if name == "title":
                stored = _line(stored)[:_LONGEST_TITLE]
            db.execute(f"UPDATE conversations SET {name} = ? WHERE id = ?", (stored, number))
    return one(db, number)


def name(db: Connection, number: int, said: str) -> None:
    """Where it has no title, its title is what was said."""
    title = _line(clean(said))
    if len(title) > _LONGEST_NAME:
        title = title[: _LONGEST_NAME - 1].rstrip() + "…"
    db.execute("UPDATE conversations SET title = ? WHERE id = ? AND title = ''", (title, number))


def hide(db: Connection, number: int, now: float) -> Undo:
    """Out of every list."""
    title = one(db, number).title
    db.execute("UPDATE conversations SET deleted = ? WHERE id = ?", (now, number))
    return Undo(number, title, now)


def show(db: Connection, number: int) -> Conversation:
    """Back in the lists, unless it is erased."""
    db.execute("UPDATE conversations SET deleted = NULL WHERE id = ?", (number,))
    return one(db, number)


def erase(db: Connection, numbers: Iterable[int]) -> None:
    """For good, those of them that are hidden."""
    for number in numbers:
        db.execute("DELETE FROM conversations WHERE id = ? AND deleted IS NOT NULL", (number,))


def purge(db: Connection, now: float) -> None:
    """Erase what was hidden long ago by a program that did not live to do so."""
    db.execute("DELETE FROM conversations WHERE deleted < ?", (now - KEPT_SECONDS,))


def fork(db: Connection, number: int, at_message: int, now: float) -> Conversation:
    """A copy up to a message; one that is still being written is copied as far as it came."""
    old = one(db, number)
    shown = tree.path(db, number, at_message)
    if not shown:
        raise tree.missing(at_message, number)
    new = create(db, old.model, old.system, old.params, now)
    parent = None
    for message in shown:
        state = "stopped" if message.state == "streaming" else message.state
        parent = tree.insert(db, new.id, replace(message, parent=parent, state=state)).id
    db.execute("UPDATE conversations SET updated = ? WHERE id = ?", (now, new.id))
    return change(db, new.id, title=f"{old.title} (fork)" if old.title else "(fork)")


def _line(words: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())
