"""The messages of a conversation as a tree: paths, branches, and what is on disk of each."""

from __future__ import annotations

from collections.abc import Iterable
from sqlite3 import Connection
from typing import Any, TypeAlias

from forge_tui.store.records import MESSAGE, HistoryError, Message, clean, message, packed, text

Piece: TypeAlias = tuple[int, str, int]
"""The number, text and tokens of what was saved of a reply at once."""

# A parent is always older: in a file that somebody edited a circle would have no end.
_PATH = """WITH RECURSIVE path (id, parent) AS (
    SELECT id, parent FROM messages WHERE id = ? AND conversation = ?
    UNION ALL
    SELECT m.id, m.parent FROM messages m JOIN path ON m.id = path.parent WHERE m.id < path.id
) """
_BELOW = """WITH RECURSIVE below (id) AS (
    SELECT id FROM messages WHERE id = ? AND conversation = ?
    UNION ALL
    SELECT m.id FROM messages m JOIN below ON m.parent = below.id WHERE m.id > below.id
) """


def path(db: Connection, conversation: int, leaf: int) -> list[Message]:
    """From the first message to `leaf`."""
    rows = db.execute(
        f"{_PATH} SELECT {MESSAGE} FROM messages WHERE id IN (SELECT id FROM path) ORDER BY id",
        (leaf, conversation),
    )
    return whole(db, conversation, rows)


def everything(db: Connection, conversation: int) -> list[Message]:
    """All branches, the oldest message first."""
    rows = db.execute(
        f"SELECT {MESSAGE} FROM messages WHERE conversation = ? ORDER BY id", (conversation,)
    )
    return whole(db, conversation, rows)


def whole(db: Connection, conversation: int, rows: Iterable[Any]) -> list[Message]:
    """Messages with the pieces that were saved since they began."""
    pieces: dict[int, list[tuple[str, int]]] = {}
    for number, piece, tokens in db.execute(
        "SELECT message, pieces.text, pieces.tokens FROM pieces JOIN messages ON id = message"
        " WHERE conversation = ? ORDER BY message, number",
        (conversation,),
    ):
        pieces.setdefault(number, []).append((text(piece), int(tokens)))
    found = []
    for row in rows:
        mine = pieces.get(row[0], [])
        found.append(message(row, "".join(p for p, _ in mine), sum(n for _, n in mine)))
    return found


def insert(db: Connection, conversation: int, new: Message, owner: str = "") -> Message:
    """Add a message after its parent and read on from it. HistoryError where there is no parent."""
    exists = "SELECT 1 FROM conversations WHERE id = ? AND deleted IS NULL"
    if not db.execute(exists, (conversation,)).fetchone():
        raise gone(conversation)
    if new.parent is not None:
        belongs = "SELECT 1 FROM messages WHERE id = ? AND conversation = ?"
        if not db.execute(belongs, (new.parent, conversation)).fetchone():
            raise missing(new.parent, conversation)
    added = db.execute(
        "INSERT INTO messages (conversation, parent, role, text, tokens, state, backend, created,"
        " meta, owner) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(conversation, new.parent, new.role, clean(new.text), new.tokens, new.state),
            *(new.backend, new.created, packed(new.meta), owner),
        ),
    )
    db.execute(
        "UPDATE conversations SET leaf = ?, updated = max(updated, ?) WHERE id = ?",
        (added.lastrowid, new.created, conversation),
    )
    return _found(db, int(added.lastrowid or 0))


def siblings(db: Connection, number: int) -> list[Message]:
    """The messages with the same parent, itself among them, the oldest first."""
    row = db.execute("SELECT conversation, parent FROM messages WHERE id = ?", (number,)).fetchone()
    if row is None:
        raise HistoryError(f"there is no message {number}: its conversation was deleted")
    rows = db.execute(
        f"SELECT {MESSAGE} FROM messages WHERE conversation = ? AND parent IS ? ORDER BY id", row
    )
    return whole(db, row[0], rows)


def newest_leaf(db: Connection, conversation: int, number: int) -> int:
    """The newest message below one, or itself."""
    below = f"{_BELOW} SELECT max(id) FROM below"
    leaf = db.execute(below, (number, conversation)).fetchone()[0]
    if leaf is None:
        raise missing(number, conversation)
    return int(leaf)


def add_pieces(db: Connection, number: int, pieces: Iterable[Piece]) -> None:
    """A reply goes on. One whose commit may have come through or not can be added again."""
    _conversation(db, number)
    rows = [(number, *piece) for piece in pieces]
    db.executemany("INSERT OR IGNORE INTO pieces VALUES (?, ?, ?, ?)", rows)


def merge(db: Connection, number: int, state: str, meta: str) -> None:
    """A reply has ended: its pieces become its text."""
    conversation = _conversation(db, number)
    rows = db.execute(f"SELECT {MESSAGE} FROM messages WHERE id = ?", (number,))
    [now] = whole(db, conversation, rows)
    db.execute(
        "UPDATE messages SET text = ?, tokens = ?, state = ?, meta = ?, owner = '' WHERE id = ?",
        (clean(now.text), now.tokens, state, meta, number),
    )
    db.execute("DELETE FROM pieces WHERE message = ?", (number,))


def _conversation(db: Connection, number: int) -> int:
    row = db.execute("SELECT conversation FROM messages WHERE id = ?", (number,)).fetchone()
    if row is None:
        raise HistoryError(f"reply {number} cannot be saved: its conversation was deleted")
    return int(row[0])


def gone(conversation: int) -> HistoryError:
    """The error for a conversation that is not there."""
    return HistoryError(f"there is no conversation {conversation}: it was deleted")


def missing(number: int, conversation: int) -> HistoryError:
    """The error for a message that is not there."""
    return HistoryError(f"there is no message {number} in conversation {conversation}")


def _found(db: Connection, number: int) -> Message:
    return message(db.execute(f"SELECT {MESSAGE} FROM messages WHERE id = ?", (number,)).fetchone())
