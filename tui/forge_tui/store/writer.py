"""A reply on its way to the disk: in batches, by a thread of its own, so that nobody waits."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from sqlite3 import Connection
from typing import Any

from forge import UsageError
from forge_tui.store import tree
from forge_tui.store.connections import Connections
from forge_tui.store.records import MESSAGE, HistoryError, Message, State, clean, message, packed

BATCH_SECONDS = 0.25
"""How much of a reply a kill may take: what came in this time, and while the disk was busy."""


class Writer:
    """Owns what is not on disk yet of one reply. `message` is the reply as it began.

    What cannot be saved, on a full disk for one, is tried again later; `trouble` says why.
    """

    def __init__(
        self, connections: Connections, reply: Message, seconds: float = BATCH_SECONDS
    ) -> None:
        self.message = reply
        self.trouble = ""
        self._connections = connections
        self._seconds = seconds
        self._new: list[str] = []
        self._tokens = 0
        self._unsaved: list[tree.Piece] = []
        self._numbered = 0
        self._ended = self._finished = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._save, name="forge-writer", daemon=True)
        self._thread.start()

    @property
    def open(self) -> bool:
        """Whether something of it may not be on disk yet."""
        return not self._finished

    def append(self, text: str, n_tokens: int = 1) -> None:
        """The reply goes on; returns at once, from any thread."""
        with self._changed:
            if self._ended:
                raise UsageError("this reply is finished: start another one")
            self._new.append(text)
            self._tokens += n_tokens
            self._changed.notify()

    def finish(
        self, state: State = "complete", meta: Mapping[str, Any] | None = None, backend: str = ""
    ) -> Message:
        """Save the rest; the reply as it is on disk now. backend: the one that answered last.

        Takes one commit, milliseconds on most disks and five seconds at most where another program
        has the file locked. Raises HistoryError where it cannot be saved; it may be tried again.
        """
        details = packed(meta or {})
        self._end()

        def work(db: Connection) -> Message:
            self._insert(db)
            tree.merge(db, self.message.id, state, details)
            if backend:
                db.execute(
                    "UPDATE messages SET backend = ? WHERE id = ?", (backend, self.message.id)
                )
            row = db.execute(f"SELECT {MESSAGE} FROM messages WHERE id = ?", (self.message.id,))
            return message(row.fetchone())

        done = self._connections.write(work)
        self._unsaved, self._finished, self.trouble = [], True, ""
        return replace(done, meta=dict(meta or {}))

    def abandon(self) -> None:
        """The program ends: what there is is saved if it can be, as a reply that was stopped."""
        if self.open:
            with suppress(HistoryError):
                self.finish("stopped", {"interrupted": True})

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()
        self._collect()

    def _save(self) -> None:
        while self._wait():
            self._collect()
            try:
                self._connections.write(self._insert)
            except HistoryError as error:
                self.trouble = str(error)
            else:
                self._unsaved, self.trouble = [], ""
        self._connections.release()

    def _wait(self) -> bool:
        """Until a batch is due; False when the reply is at its end."""
        with self._changed:
            self._changed.wait_for(lambda: self._new or self._unsaved or self._ended)
            due = time.monotonic() + self._seconds
            while not self._ended and (left := due - time.monotonic()) > 0:
                self._changed.wait_for(lambda: self._ended, left)
            return not self._ended

    def _collect(self) -> None:
        with self._changed:
            if self._new:
                piece = clean("".join(self._new))
                self._unsaved.append((self._numbered, piece, self._tokens))
                self._numbered += 1
                self._new, self._tokens = [], 0

    def _insert(self, db: Connection) -> None:
        tree.add_pieces(db, self.message.id, self._unsaved)
