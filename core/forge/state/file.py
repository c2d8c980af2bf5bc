"""The database's file: made whole or not at all, opened, moved aside when it is damaged."""

from __future__ import annotations

import fcntl
import os
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from forge.state import schema
from forge.state.trouble import Damaged, Unusable, is_damage

if TYPE_CHECKING:
    from sqlite3 import Connection

NAME = "state.db"
BUSY_SECONDS = 1.0
"""How long anything here waits for another process."""

_POLL = 0.01
_BESIDE = ("-wal", "-shm", "-journal")  # the files that SQLite keeps beside a database


def open_file(folder: Path) -> tuple[Connection, tuple[int, int]]:
    """Open the folder's database, which must be there, and say which file it was.

    The lock is shared: nobody moves the file while SQLite finds its companions by name.
    Raises FileNotFoundError, Damaged (with which file it was), FromTheFuture, Unusable,
    sqlite3.Error.
    """
    import sqlite3

    path = folder / NAME
    with _locked(folder, fcntl.LOCK_SH):
        seen = path.stat()
        if not stat.S_ISREG(seen.st_mode):
            raise Unusable(f"{path} is no file")
        connection = connect(f"{path.as_uri()}?mode=rw")
        try:
            schema.check(connection)
            connection.execute("PRAGMA journal_mode=WAL")
        except (Damaged, sqlite3.Error, UnicodeDecodeError) as error:
            connection.close()
            if is_damage(error):
                raise Damaged(str(error), identity(seen)) from None
            raise
        except BaseException:
            connection.close()
            raise
    return connection, identity(seen)


def connect(name: str) -> Connection:
    """A connection with forge's settings; `name` is a URI."""
    import sqlite3  # 5 ms that a forge without a state folder need not spend

    connection = sqlite3.connect(
        name, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = bytes  # text that is damaged need not be UTF-8
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")
    if sys.platform == "darwin":
        connection.execute("PRAGMA fullfsync=ON")  # fsync alone stops at the drive's own cache
    return connection


def identity(seen: os.stat_result) -> tuple[int, int]:
    """What tells a file from another one of the same name."""
    return seen.st_dev, seen.st_ino


def make_file(folder: Path) -> None:
    """Have a whole, empty database in the folder unless somebody else was first."""
    with _locked(folder, fcntl.LOCK_EX):
        if not (folder / NAME).exists():
            _put_new(folder, _new(folder))


def move_aside(folder: Path, damaged: tuple[int, int]) -> bool:
    """Replace a damaged file by an empty one; it becomes state.db.damaged, over an older one.

    damaged: the file that was found so; False if another one has taken its place already.
    """
    path = folder / NAME
    with _locked(folder, fcntl.LOCK_EX):
        if identity(path.stat()) != damaged:
            return False
        new = _new(folder)
        for end in _BESIDE:
            with suppress(FileNotFoundError):
                os.replace(f"{path}{end}", f"{path}.damaged{end}")
        os.replace(path, f"{path}.damaged")
        _put_new(folder, new)
    return True


def _new(folder: Path) -> Path:
    """A whole, empty database under another name."""
    path = folder / f"{NAME}.new"
    _remove(path)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    try:
        connection = connect(f"{path.as_uri()}?mode=rw")
        try:
            connection.execute("PRAGMA synchronous=FULL")
            schema.create(connection)
            # Last: from a log, the rows would reach the file in close(), which tells of no failure.
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
    except BaseException:
        _remove(path)
        raise
    return path


def _put_new(folder: Path, new: Path) -> None:
    """Give it its name. What lies beside that name belongs to a file that is gone."""
    for end in _BESIDE:
        with suppress(FileNotFoundError):
            os.unlink(f"{folder / NAME}{end}")
    os.replace(new, folder / NAME)
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    for end in ("", *_BESIDE):
        with suppress(FileNotFoundError):
            os.unlink(f"{path}{end}")


@contextmanager
def _locked(folder: Path, kind: int) -> Iterator[None]:
    """Hold the folder's lock; Unusable if another process keeps it."""
    path = folder / f"{NAME}.lock"
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    try:
        end = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise Unusable(f"another process keeps {path} locked") from None
            time.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)
