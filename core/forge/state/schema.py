"""The database's tables, and whether a file is one of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forge.state.trouble import Damaged, FromTheFuture

if TYPE_CHECKING:
    from sqlite3 import Connection

APPLICATION = 0x666F7267
"""SQLite's application_id of every database of forge."""

VERSION = 1
_NEWEST = 1000  # beyond it, the number is damage and no version

ROWS = ("markers", "quarantines", "probes", "devices")
"""Tables of JSON rows, see rows.py."""

_SCHEMA = [
    f"CREATE TABLE {table} (id INTEGER PRIMARY KEY, body TEXT NOT NULL, sum INTEGER NOT NULL)"
    for table in ROWS
] + [
    "CREATE TABLE paces (device TEXT NOT NULL, backend TEXT NOT NULL, phase TEXT NOT NULL,"
    " bucket INTEGER NOT NULL, counts BLOB NOT NULL, sum INTEGER NOT NULL,"
    " PRIMARY KEY (device, backend, phase, bucket)) WITHOUT ROWID"
]


def create(connection: Connection) -> None:
    """Fill an empty database."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION}")
    connection.execute(f"PRAGMA user_version={VERSION}")
    connection.execute("COMMIT")


def check(connection: Connection) -> None:
    """Raises Damaged or FromTheFuture unless the file is ours and its pages hang together."""
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if application != APPLICATION or not 0 < version < _NEWEST:
        raise Damaged("it is no database of forge")
    if version > VERSION:
        raise FromTheFuture
    [found] = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != b"ok":
        raise Damaged(found.decode(errors="replace") if isinstance(found, bytes) else "")
