"""Waiting for one's turn to write."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from forge.state.file import BUSY_SECONDS
from forge.state.trouble import is_busy

if TYPE_CHECKING:
    from sqlite3 import Connection

LONGEST_SECONDS = 8.0
"""Even while others get their turns."""

_POLL = 0.002


def begin_write(connection: Connection) -> None:
    """BEGIN IMMEDIATE; raises sqlite3.OperationalError where one process keeps the lock.

    SQLite's own wait looks ten times a second in the end, and finds a turn only by luck where
    several processes write without a pause. Their commits also show that nobody is stuck.
    """
    import sqlite3

    connection.execute("PRAGMA busy_timeout=0")
    try:
        begun = time.monotonic()
        end, commits = begun, -1
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                now = time.monotonic()
                if is_busy(error) and (seen := _others_commits(connection)) != commits:
                    end, commits = now + BUSY_SECONDS, seen
                if not is_busy(error) or now > min(end, begun + LONGEST_SECONDS):
                    raise
            time.sleep(_POLL)
    finally:
        connection.execute(f"PRAGMA busy_timeout={round(BUSY_SECONDS * 1000)}")


def _others_commits(connection: Connection) -> int:
    """A number that changes when another process has written; 0 where it cannot be read."""
    import sqlite3

    try:
        return int(connection.execute("PRAGMA data_version").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
