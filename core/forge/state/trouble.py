"""What can be wrong with the database, told apart by what is to be done about it."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

# Result codes that a sound file never gives to our statements: ERROR (a table is missing), CORRUPT,
# TOOBIG, CONSTRAINT, MISMATCH, FORMAT, RANGE, NOTADB. Source: sqlite.org/rescode.html.
_DAMAGE = frozenset({1, 11, 18, 19, 20, 24, 25, 26})

_SHORT_READ = 522
_BUSY = frozenset({5, 6})
_READ_ONLY = 8
_UNWRITTEN = frozenset({10, 13})
_LITTLE_SPACE = 1 << 18


class Damaged(Exception):
    """The file is no database of forge, or no longer a whole one.

    file: device and inode of the one that was found so, where that is known.
    """

    def __init__(self, message: str, file: tuple[int, int] | None = None) -> None:
        super().__init__(message)
        self.file = file


class FromTheFuture(Exception):
    """A newer forge wrote the file."""


class Unusable(Exception):
    """The file or its folder cannot be used; the message says why."""


def is_damage(error: Exception) -> bool:
    """Whether it says that the file is not whole, rather than busy, full or out of reach."""
    # sqlite3 cannot even say what is wrong where that names a damaged table
    if isinstance(error, (Damaged, UnicodeDecodeError)):
        return True
    code = getattr(error, "sqlite_errorcode", None)
    return code is not None and (code == _SHORT_READ or code & 0xFF in _DAMAGE)


def is_out_of_space(error: Exception, folder: Path) -> bool:
    """Whether a write failed as the disk is full; of the -shm file's growth, SQLite says IOERR."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code not in _UNWRITTEN:
        return False
    with suppress(OSError):
        space = os.statvfs(folder)
        return space.f_bavail * space.f_frsize < _LITTLE_SPACE
    return False


def is_busy(error: Exception) -> bool:
    """Whether another process kept the file locked."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BUSY


def is_read_only(error: Exception) -> bool:
    """Whether SQLite took the file for a read-only one."""
    return bool(getattr(error, "sqlite_errorcode", 0) & 0xFF == _READ_ONLY)
