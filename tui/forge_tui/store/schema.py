"""The database's tables, how they change from version to version, and whether a file is ours."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import Connection, DatabaseError

from forge_tui.store.records import HistoryError

APPLICATION = 0x666F7263
"""SQLite's application_id of a file of conversations."""
_NEWEST = 1000  # beyond it, the number is damage and no version

STEPS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE TABLE conversations (id INTEGER PRIMARY KEY AUTOINCREMENT, title TEXT NOT NULL,"
        " created REAL NOT NULL, updated REAL NOT NULL, model TEXT NOT NULL, system TEXT NOT NULL,"
        " params TEXT NOT NULL, leaf INTEGER, deleted REAL)",
        "CREATE TABLE messages (id INTEGER PRIMARY KEY AUTOINCREMENT,"
        " conversation INTEGER NOT NULL REFERENCES conversations ON DELETE CASCADE,"
        " parent INTEGER REFERENCES messages ON DELETE CASCADE,"
        " role TEXT NOT NULL, text TEXT NOT NULL, tokens INTEGER NOT NULL, state TEXT NOT NULL,"
        " backend TEXT NOT NULL, created REAL NOT NULL, meta TEXT NOT NULL, owner TEXT NOT NULL)",
        # What came of a reply since it began: appending a row costs the same however long it is.
        "CREATE TABLE pieces (message INTEGER NOT NULL REFERENCES messages ON DELETE CASCADE,"
        " number INTEGER NOT NULL, text TEXT NOT NULL, tokens INTEGER NOT NULL,"
        " PRIMARY KEY (message, number)) WITHOUT ROWID",
        "CREATE INDEX messages_by_conversation ON messages (conversation, id)",
        "CREATE INDEX messages_by_parent ON messages (parent)",
        "CREATE INDEX messages_streaming ON messages (id) WHERE state = 'streaming'",
    ),
)
"""What brings a file from each version to the next; a step that was released never changes."""


class Damaged(Exception):
    """The file holds no conversations of forge, or is no longer whole."""


def migrate(connection: Connection, steps: Sequence[Sequence[str]] = STEPS) -> None:
    """Bring the file to the newest version, in one transaction; other processes wait meanwhile.

    Raises Damaged, and HistoryError where a newer forge wrote it.
    """
    if _version(connection) == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if version > len(steps):
            raise HistoryError("a newer forge wrote the conversations: upgrade forge to read them")
        for step in steps[version:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        connection.execute(f"PRAGMA user_version={len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def check(connection: Connection) -> None:
    """Raises Damaged unless every page and row is as SQLite wrote it."""
    try:
        [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
        for table in ("conversations", "messages", "pieces"):
            connection.execute(f"SELECT * FROM {table} LIMIT 0")
    except (DatabaseError, UnicodeDecodeError) as error:
        if is_damage(error) or "no such table" in str(error):
            raise Damaged(str(error)) from None
        raise
    if found != "ok":
        raise Damaged(str(found))


def is_damage(error: Exception) -> bool:
    """Whether it says that the file is not whole: CORRUPT or NOTADB (sqlite.org/rescode.html).

    Where it would name a damaged table, sqlite3 cannot even decode what it says.
    """
    return isinstance(error, UnicodeDecodeError) or getattr(
        error, "sqlite_errorcode", 0
    ) & 0xFF in (11, 26)


def _version(connection: Connection) -> int:
    """0 for an empty file. Raises Damaged for one that is not ours."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if (application, version, tables) == (0, 0, 0):
        return 0
    if application != APPLICATION or not 0 < version < _NEWEST:
        raise Damaged("it holds no conversations of forge")
    return version
