"""Copies what can still be read of a damaged file."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

_KEYS = {"conversations": "id", "messages": "id", "pieces": "message, number"}
_MOST_MISSING = 20_000
"""How many rows are looked for one by one where a page of them is lost."""
_ROW = "INSERT OR IGNORE INTO {table} ({columns}) VALUES ({places})"


def salvage(damaged: Path, target: sqlite3.Connection) -> int:
    """How many messages could be copied; those whose conversation is lost get another one."""
    target.execute("PRAGMA foreign_keys=OFF")
    target.execute("BEGIN IMMEDIATE")
    with tempfile.TemporaryDirectory(dir=damaged.parent) as folder:
        copy = _copied(damaged, Path(folder))  # reading would change the log beside it
        with closing(sqlite3.connect(copy, isolation_level=None)) as source:
            source.text_factory = bytes
            for table in _KEYS:
                _copy(table, source, target)
    target.execute(
        "INSERT INTO conversations (id, title, created, updated, model, system, params, leaf)"
        " SELECT conversation, 'recovered', min(created), max(created), '', '', '{}', max(id)"
        " FROM messages WHERE conversation NOT IN (SELECT id FROM conversations)"
        " GROUP BY conversation"
    )
    target.execute(
        "UPDATE messages SET parent = NULL WHERE parent NOT IN (SELECT id FROM messages)"
    )
    target.execute("DELETE FROM pieces WHERE message NOT IN (SELECT id FROM messages)")
    target.execute(
        "UPDATE conversations SET leaf = (SELECT max(id) FROM messages"
        " WHERE conversation = conversations.id)"
        " WHERE leaf NOT IN (SELECT id FROM messages)"
    )
    target.execute("COMMIT")
    target.execute("PRAGMA foreign_keys=ON")
    return int(target.execute("SELECT count(*) FROM messages").fetchone()[0])


def _copied(damaged: Path, folder: Path) -> Path:
    """The file and its log, elsewhere, and as long as it says that it is.

    SQLite reads nothing of a file that was cut short; with zeros in the place of what is missing
    it reads the rest. Page size and count: bytes 16 and 28, sqlite.org/fileformat.html.
    """
    copy = folder / "copy"
    shutil.copy(damaged, copy)
    wal = damaged.with_name(damaged.name + "-wal")
    if wal.is_file():
        shutil.copy(wal, folder / "copy-wal")
    with copy.open("r+b") as file:
        header = file.read(32)
        pages, size = int.from_bytes(header[28:32], "big"), int.from_bytes(header[16:18], "big")
        with suppress(OSError):  # a damaged header may say anything
            if os.fstat(file.fileno()).st_size < pages * size:
                file.truncate(pages * size)
    return copy


def _copy(table: str, source: sqlite3.Connection, target: sqlite3.Connection) -> None:
    """Row by row from either end up to a page that is lost, then those between, one by one."""
    columns = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
    insert = _ROW.format(
        table=table, columns=", ".join(columns), places=", ".join("?" * len(columns))
    )
    select, key = f"SELECT {', '.join(columns)} FROM {table}", _KEYS[table]
    first = _insert(_readable(source, f"{select} ORDER BY {key}"), target, insert)
    last = _insert(_readable(source, f"{select} ORDER BY {key} DESC"), target, insert)
    if table != "pieces" and _is_there(source, table):
        end = last if last else first + _MOST_MISSING
        for number in range(first + 1, min(end, first + _MOST_MISSING)):
            _insert(_readable(source, f"{select} WHERE id = {number}"), target, insert)


def _is_there(source: sqlite3.Connection, table: str) -> bool:
    try:
        source.execute(f"SELECT id FROM {table} LIMIT 0")
    except (sqlite3.Error, UnicodeDecodeError):
        return False
    return True


def _insert(rows: Iterator[tuple[Any, ...]], target: sqlite3.Connection, insert: str) -> int:
    """The first column of the last row that could be read, 0 if none could."""
    last = 0
    for row in rows:
        last = row[0] if isinstance(row[0], int) else last
        with suppress(sqlite3.IntegrityError):  # a row that no longer says what it must
            target.execute(insert, [_decoded(value) for value in row])
    return last


def _readable(source: sqlite3.Connection, select: str) -> Iterator[tuple[Any, ...]]:
    """The rows before the first one that cannot be read."""
    with suppress(
        sqlite3.Error, UnicodeDecodeError
    ):  # of a damaged name not even the error is text
        yield from source.execute(select)


def _decoded(value: Any) -> Any:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
