"""The front door of the conversations: list, read, grow, branch, delete and take that back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from sqlite3 import Connection
from typing import TYPE_CHECKING, Any, Literal

from forge import UsageError
from forge_tui.store import export, listing, tree
from forge_tui.store.connections import BUSY_SECONDS, Connections
from forge_tui.store.file import prepare
from forge_tui.store.owner import is_gone, mine
from forge_tui.store.records import Conversation, Message, Undo
from forge_tui.store.writer import BATCH_SECONDS, Writer

if TYPE_CHECKING:
    from typing import Self


class Store:
    """Owns one file of conversations; several programs may have it open at a time.

    Any thread may call anything. Every call is one transaction, on disk when it returns, and raises
    HistoryError where that cannot be. `notes`: what a person should know of the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        batch_seconds: float = BATCH_SECONDS,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.path = path
        self.notes: tuple[str, ...] = tuple(prepare(path))
        self._clock = clock
        self._batch_seconds = batch_seconds
        self._connections = Connections(path, busy_seconds)
        self._writers: list[Writer] = []
        self._deleted: set[int] = set()
        try:
            self._connections.write(self._recover)
        except BaseException:
            self._connections.close()
            raise

    def _recover(self, db: Connection) -> None:
        """Settle what programs that are gone left: half replies, and deletions never taken back."""
        left = db.execute("SELECT id, owner FROM messages WHERE state = 'streaming'").fetchall()
        for number, owner in left:
            if is_gone(str(owner)):
                tree.merge(db, number, "stopped", '{"interrupted": true}')
        listing.purge(db, self._clock())

    def close(self) -> None:
        """End the replies that are being written, erase what was deleted, give the file back."""
        for writer in self._writers:
            writer.abandon()
        if self._deleted:
            self._connections.write(lambda db: listing.erase(db, self._deleted))
            self._deleted = set()
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Conversations

    def create(
        self, model: str = "", system: str = "", params: Mapping[str, Any] | None = None
    ) -> Conversation:
        """A new one; it gets its title from the first thing that the person says."""
        return self._connections.write(
            lambda db: listing.create(db, model, system, params or {}, self._clock())
        )

    def conversation(self, id: int) -> Conversation:
        """The conversation as it is now."""
        return self._connections.read(lambda db: listing.one(db, id))

    def conversations(self, search: str = "") -> list[Conversation]:
        """Those in whose title, model or messages every word occurs, the latest first.

        Upper and lower case are the same, in every script.
        """
        return self._connections.read(lambda db: listing.search(db, search))

    def rename(self, id: int, title: str) -> Conversation:
        """Give it a title, on one line."""
        return self._connections.write(lambda db: listing.change(db, id, title=title))

    def configure(
        self,
        id: int,
        *,
        model: str | None = None,
        system: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> Conversation:
        """What it goes on with from now on."""
        return self._connections.write(
            lambda db: listing.change(db, id, model=model, system=system, params=params)
        )

    def delete(self, id: int) -> Undo:
        """Take it out of the lists; it is erased when the store is closed, unless taken back."""
        undo = self._connections.write(lambda db: listing.hide(db, id, self._clock()))
        self._deleted.add(id)
        return undo

    def undelete(self, undo: Undo) -> Conversation:
        """As it was before `delete`."""
        found = self._connections.write(lambda db: listing.show(db, undo.conversation))
        self._deleted.discard(undo.conversation)
        return found

    def fork(self, id: int, at_message: int) -> Conversation:
        """Another conversation, with copies of the messages up to and including that one."""
        return self._connections.write(lambda db: listing.fork(db, id, at_message, self._clock()))

    # Messages

    def messages(self, id: int, leaf: int | None = None) -> list[Message]:
        """The branch that ends with `leaf`, by default the one that was read last."""

        def work(db: Connection) -> list[Message]:
            last = leaf if leaf is not None else listing.one(db, id).leaf
            return [] if last is None else tree.path(db, id, last)

        return self._connections.read(work)

    def add(
        self,
        id: int,
        parent: int | None,
        role: str,
        text: str,
        tokens: int = 0,
        meta: Mapping[str, Any] | None = None,
    ) -> Message:
        """A whole message after `parent`; another one with that parent is another branch."""
        new = Message(0, parent, role, text, tokens, created=self._clock(), meta=meta or {})

        def work(db: Connection) -> Message:
            added = tree.insert(db, id, new)
            if role == "user":
                listing.name(db, id, text)
            return added

        return self._connections.write(work)

    def start_reply(self, id: int, parent: int | None, backend: str = "") -> Writer:
        """A reply that is being written; `finish` the writer when it has ended."""
        new = Message(0, parent, "assistant", "", 0, "streaming", backend, self._clock())
        message = self._connections.write(lambda db: tree.insert(db, id, new, mine()))
        self._writers = [writer for writer in self._writers if writer.open]
        self._writers.append(Writer(self._connections, message, self._batch_seconds))
        return self._writers[-1]

    def siblings(self, message: int) -> list[Message]:
        """The branches at a message: all that have its parent, the oldest first."""
        return self._connections.read(lambda db: tree.siblings(db, message))

    def select(self, id: int, message: int) -> list[Message]:
        """Read on with the newest branch through that message; its messages."""

        def work(db: Connection) -> list[Message]:
            leaf = tree.newest_leaf(db, id, message)
            db.execute("UPDATE conversations SET leaf = ? WHERE id = ?", (leaf, id))
            return tree.path(db, id, leaf)

        return self._connections.write(work)

    def export(self, id: int, format: Literal["markdown", "json"] = "markdown") -> str:
        """The branch that is read as Markdown, or every branch as JSON."""
        if format not in ("markdown", "json"):
            raise UsageError(f"export as {format!r}: choose markdown or json")

        def work(db: Connection) -> str:
            talk = listing.one(db, id)
            shown = [] if talk.leaf is None else tree.path(db, id, talk.leaf)
            if format == "markdown":
                return export.markdown(talk, shown)
            return export.as_json(talk, shown, tree.everything(db, id))

        return self._connections.read(work)
