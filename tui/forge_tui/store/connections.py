"""One SQLite connection for each thread, and transactions with errors that a person can use."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from forge_tui.store.records import HistoryError

_T = TypeVar("_T")
BUSY_SECONDS = 5.0
"""How long a transaction waits for another process's."""
_BUSY = (5, 6)
_FULL = 13


def connect(path: Path, busy_seconds: float = BUSY_SECONDS) -> sqlite3.Connection:
    """A connection whose commits survive a kill and, where the disk keeps its word, a power cut."""
    # Threads share none; the last one closes those of threads that have ended.
    connection = sqlite3.connect(
        path, timeout=busy_seconds, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = _decoded
    connection.create_function("folded", 1, _folded, deterministic=True)
    try:
        # A file system without shared memory keeps its rollback journal: slower, and as safe.
        connection.execute("PRAGMA journal_mode=WAL")
        # A hung GPU may take the machine down with it: every batch is on the disk, not on its way.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        connection.execute("PRAGMA secure_delete=ON")
    except BaseException:
        connection.close()
        raise
    return connection


class Connections:
    """Owns the connections to one file, by thread; those of ended threads are closed."""

    def __init__(self, path: Path, busy_seconds: float = BUSY_SECONDS) -> None:
        self.path = path
        self._busy_seconds = busy_seconds
        self._open: dict[threading.Thread, sqlite3.Connection] = {}
        self._lock = threading.Lock()
        self._closed = False

    def read(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """What `work` finds in one transaction. Raises HistoryError."""
        return self._run("BEGIN", work)

    def write(self, work: Callable[[sqlite3.Connection], _T]) -> _T:
        """As `read`, for work that writes: on the disk when this returns, or not at all."""
        return self._run("BEGIN IMMEDIATE", work)

    def _run(self, begin: str, work: Callable[[sqlite3.Connection], _T]) -> _T:
        try:
            connection = self._current()
            connection.execute(begin)
            try:
                found = work(connection)
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
            raise HistoryError(explained(error, self.path)) from error
        return found

    def _current(self) -> sqlite3.Connection:
        me = threading.current_thread()
        with self._lock:
            if self._closed:
                raise HistoryError(f"{self.path}: is closed")
            found = self._open.get(me)
        if found is None:
            found = connect(self.path, self._busy_seconds)
            with self._lock:
                for thread in [other for other in self._open if not other.is_alive()]:
                    self._open.pop(thread).close()
                self._open[me] = found
        return found

    def release(self) -> None:
        """Close this thread's connection; the next transaction opens another one."""
        with self._lock:
            found = self._open.pop(threading.current_thread(), None)
        if found is not None:
            found.close()

    def close(self) -> None:
        """Close all of them, once no thread is in a transaction; what comes after is an error."""
        with self._lock:
            self._closed = True
            found, self._open = self._open, {}
        for connection in found.values():
            connection.close()


def explained(error: Exception, path: Path) -> str:
    """An error in words: the file, what is wrong with it, and what to do."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in _BUSY:
        return f"{path}: another program keeps it locked; end that program and try again"
    if code == _FULL:
        return f"{path}: no space is left on the disk; make room and try again"
    return f"{path}: {getattr(error, 'strerror', None) or error}"


def _decoded(stored: bytes) -> str:
    return stored.decode(errors="replace")


def _folded(value: object) -> str:
    """For searches that know that É is é; SQLite's own LIKE knows ASCII alone."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    return "" if value is None else str(value).casefold()
