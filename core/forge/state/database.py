"""The database behind the ledger: transactions that never stop forge, whatever the file is like."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from forge.state import file, schema
from forge.state.trouble import (
    Damaged,
    FromTheFuture,
    Unusable,
    is_busy,
    is_damage,
    is_out_of_space,
    is_read_only,
)
from forge.state.turns import begin_write

if TYPE_CHECKING:
    from sqlite3 import Connection

_T = TypeVar("_T")
_TRIES = 3
_LEFT_ALONE_SECONDS = 30.0


class Database:
    """Owns the connection and `notes`, what the person should know about it.

    Where there is no usable file the database is in memory: forgotten at the end, and as good until
    then. A lock that another process keeps costs one wait, and then none for half a minute.
    """

    def __init__(self, folder: Path | Callable[[], Path]) -> None:
        self._where = folder
        self._folder: Path | None = None
        self._connection: Connection | None = None
        self._inherited: Connection | None = None
        self._inside: Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._pid = os.getpid()
        self._lock = threading.RLock()  # a front end may close from another thread
        self._left_alone_until = 0.0
        self.notes: list[str] = []

    @property
    def on_disk(self) -> bool:
        """Whether it outlasts this process."""
        return self._connection is not None and self._identity is not None

    def read(self, work: Callable[[Connection], _T], default: _T) -> _T:
        """What `work` finds in one transaction, or the default."""
        return self._run(_begin_read, work, default)

    def write(
        self,
        work: Callable[[Connection], _T],
        default: _T,
        *,
        durable: bool = False,
        insist: bool = False,
    ) -> _T:
        """As `read`, for work that writes. Durable: on the disk before this returns.

        Insist: also while a lock that another process kept is left alone.
        """
        if not insist and time.monotonic() < self._left_alone_until:
            return default
        return self._run(begin_write, work, default, "FULL" if durable else "NORMAL")

    def _run(
        self,
        begin: Callable[[Connection], object],
        work: Callable[[Connection], _T],
        default: _T,
        sync: str = "NORMAL",
    ) -> _T:
        import sqlite3

        with self._lock:
            for _ in range(_TRIES):
                try:
                    return self._transaction(begin, work, sync)
                except (sqlite3.Error, Damaged, UnicodeDecodeError) as error:
                    if not self._damaged(error):
                        return default
        return default

    def _transaction(
        self, begin: Callable[[Connection], object], work: Callable[[Connection], _T], sync: str
    ) -> _T:
        if self._inside is not None:  # from a signal handler: this thread has the lock already
            return work(self._inside)
        connection = self._current()
        try:
            _roll_back(connection)  # what an interrupt may have left
            self._inside = connection
            connection.execute(f"PRAGMA synchronous={sync}")
            begin(connection)
            found = work(connection)
            connection.execute("COMMIT")
            return found
        finally:
            try:
                _roll_back(connection)
            finally:
                self._inside = None

    def _current(self) -> Connection:
        """The connection, opened where there is none, or where its file is no longer there."""
        if self._pid != os.getpid():  # SQLite's connections survive no fork, nor closing after one
            self._inherited, self._connection = self._connection, None
            self._pid = os.getpid()
        if self._connection is not None and self._moved():
            self.close()
        if self._connection is None:
            self._connection = self._open()
        return self._connection

    def _moved(self) -> bool:
        if self._folder is None or self._identity is None:
            return False
        try:
            return file.identity((self._folder / file.NAME).stat()) != self._identity
        except OSError:
            return True

    def _open(self) -> Connection:
        import sqlite3

        self._identity = None
        try:
            self._folder = self._where if isinstance(self._where, Path) else self._where()
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for _ in range(_TRIES):
                try:
                    connection, self._identity = file.open_file(self._folder)
                    return connection
                except FileNotFoundError:
                    file.make_file(self._folder)
                except Damaged as error:
                    self._move_aside(error, error.file)
            why = "its file does not stay"
        except FromTheFuture:
            why = "a newer forge wrote it: upgrade forge, or remove the file"
        except (OSError, Unusable, sqlite3.Error) as error:
            why = self._words(error)
        return self._in_memory(why)

    def _in_memory(self, why: str) -> Connection:
        where = f"{self._folder / file.NAME}" if self._folder else "the state folder"
        self.note(f"{where}: what this run learns is forgotten at its end: {why}")
        connection = file.connect("file::memory:")
        schema.create(connection)
        return connection

    def _damaged(self, error: Exception) -> bool:
        """Whether a new attempt makes sense: the file was damaged and has been replaced."""
        where = self._folder / file.NAME if self._folder else Path(file.NAME)
        if is_damage(error) or (is_read_only(error) and _may(where)):
            damaged = self._identity
            self.close()
            return self._move_aside(error, damaged)
        if is_busy(error):
            self._left_alone_until = time.monotonic() + _LEFT_ALONE_SECONDS
        self.note(f"{where}: something was not remembered: {self._words(error)}")
        return False

    def _words(self, error: Exception) -> str:
        if self._folder is not None and is_out_of_space(error, self._folder):
            return "no space left on the device"
        return getattr(error, "strerror", None) or str(error)

    def _move_aside(self, error: Exception, damaged: tuple[int, int] | None) -> bool:
        if self._folder is None or damaged is None:
            return False
        path = self._folder / file.NAME
        try:
            if file.move_aside(self._folder, damaged):
                self.note(f"{path}: was damaged ({error}); kept as {path.name}.damaged, begun anew")
        except (OSError, Unusable) as refusal:
            self.note(f"{path}: is damaged ({error}) and cannot be replaced: {refusal}")
            return False
        return True

    def note(self, text: str) -> None:
        """Remember what the person should know, once."""
        if text not in self.notes:
            self.notes.append(text)

    def close(self) -> None:
        """Give the file back; the next transaction opens it again."""
        import sqlite3

        with self._lock:
            if self._connection is not None and self._pid == os.getpid():
                with suppress(sqlite3.Error):
                    self._connection.close()
            self._connection, self._identity = None, None


def _may(path: Path) -> bool:
    """Whether the file may be written; SQLite also calls one read-only whose header is odd."""
    return os.access(path, os.W_OK) and os.access(path.parent, os.W_OK | os.X_OK)


def _begin_read(connection: Connection) -> None:
    connection.execute("BEGIN")


def _roll_back(connection: Connection) -> None:
    import sqlite3

    with suppress(sqlite3.Error):
        if connection.in_transaction:
            connection.execute("ROLLBACK")
