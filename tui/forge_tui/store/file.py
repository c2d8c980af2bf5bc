"""Opens the file of conversations, makes it where there is none, and sets a damaged one aside."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from forge_tui.store import schema
from forge_tui.store.connections import connect, explained
from forge_tui.store.records import HistoryError
from forge_tui.store.salvage import salvage

_BESIDE = ("-wal", "-shm", "-journal")
_READ_ONLY, _SHORT_READ = 8, 522


def prepare(path: Path) -> list[str]:
    """Have a sound file of the newest version there; notes for the person where one was damaged.

    Raises HistoryError where that cannot be, or a newer forge wrote it. A damaged file is kept
    under another name, and what can still be read of it is copied.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            _checked(path)
        except schema.Damaged as damage:
            return [_begin_anew(path, damage)]
    except (OSError, sqlite3.Error) as error:
        raise HistoryError(explained(error, path)) from error
    return []


def _checked(path: Path) -> None:
    """Raises Damaged unless every page hangs together: about 1 ms for each MB."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # for its owner alone
    try:
        with closing(connect(path)) as connection:
            schema.migrate(connection)
            schema.check(connection)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if schema.is_damage(error) or _is_odd(error, path):
            raise schema.Damaged(str(error)) from None
        raise


def _is_odd(error: Exception, path: Path) -> bool:
    """Whether a sound file never makes our statements fail so: ERROR, FORMAT, or a short read.

    SQLite also calls a file read-only whose header is odd. Source: sqlite.org/rescode.html.
    """
    code = getattr(error, "sqlite_errorcode", 0)
    may = os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)
    return code == _SHORT_READ or code & 0xFF in (1, 24) or (code & 0xFF == _READ_ONLY and may)


def _begin_anew(path: Path, damage: schema.Damaged) -> str:
    aside = _name_aside(path)
    for ending in ("", *_BESIDE):
        file = path.with_name(path.name + ending)
        if os.path.lexists(file):
            file.rename(aside.with_name(aside.name + ending))
    _checked(path)
    with closing(connect(path)) as connection:
        saved = salvage(aside, connection)
    messages = "1 message" if saved == 1 else f"{saved} messages"
    return f"{path}: was damaged ({damage}); kept as {aside.name}, {messages} of it could be read"


def _name_aside(path: Path) -> Path:
    """A name that is not taken: what was kept before stays."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (path.with_name(f"{path.name}.damaged-{stamp}-{n}") for n in range(1000))
    return next(name for name in names if not os.path.lexists(name))
