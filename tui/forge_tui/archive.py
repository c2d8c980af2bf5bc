"""Keeps the conversation as it grows, in a thread of its own: no key waits for a disk."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from forge_tui.tree import Node

if TYPE_CHECKING:
    from forge_tui.store import Conversation, Message, Store, Writer

_LAST_SECONDS = 6.0
"""For what is still to be written at the end; another program may have the file locked."""
OpenStore = Callable[[], "Store"]


@dataclass(frozen=True, slots=True)
class Kept:
    """A conversation as it was saved: the branch that was read last, and what lies beside it."""

    conversation: Conversation
    messages: Sequence[Message]
    siblings: Sequence[Sequence[Message]]


class Archive:
    """Owns the store and the conversation that is being written; every method returns at once.

    `trouble` is told, in that thread, why something was not saved.
    """

    def __init__(self, open_store: OpenStore, trouble: Callable[[str], None]) -> None:
        self._open_store = open_store
        self._trouble = trouble
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._store: Store | None = None
        self._conversation: int | None = None
        self._writer: Writer | None = None
        self._thread = threading.Thread(target=self._work, name="forge-archive", daemon=True)

    @property
    def conversation(self) -> int | None:
        """The one that is being written, None while it has no message."""
        return self._conversation

    def start(self) -> None:
        """Open the store."""
        self._thread.start()

    def ask(self, question: Callable[[Store], Any]) -> Future[Any]:
        """Ask the store something; the answer comes after all that was to be written before."""
        answer: Future[Any] = Future()

        def job() -> None:
            if self._store is None:
                answer.set_exception(RuntimeError("conversations cannot be saved or read here"))
                return
            try:
                answer.set_result(question(self._store))
            except Exception as error:  # noqa: BLE001  # whoever waits for it gets it
                answer.set_exception(error)

        self._jobs.put(job)
        return answer

    def begin(self) -> None:
        """What is said from now on belongs to a new conversation."""

        def job() -> None:
            self._conversation = None

        self._jobs.put(job)

    def said(self, node: Node, model: str, system: str, params: dict[str, Any]) -> None:
        """A message of the person; the first one makes the conversation."""
        parent = node.parent

        def work(store: Store) -> None:
            if self._conversation is None:
                self._conversation = store.create(model, system, params).id
            if node.stored is None:
                above = parent.stored if parent else None
                node.stored = store.add(self._conversation, above, "user", node.text).id

        self._later(work)

    def grew(self, reply: Node, text: str, tokens: int) -> None:
        """More of a reply; its first piece makes it a message."""
        asked, backend = reply.parent, reply.backend

        def work(store: Store) -> None:
            if self._conversation is None or asked is None or asked.stored is None:
                return
            if self._writer is None:
                self._writer = store.start_reply(self._conversation, asked.stored, backend)
                reply.stored = self._writer.message.id
            self._writer.append(text, tokens)

        self._later(work)

    def ended(self, state: str, meta: dict[str, Any], backend: str) -> None:
        """The reply is over."""

        def work(_: Store) -> None:
            writer, self._writer = self._writer, None
            if writer is not None:
                writer.finish("complete" if state == "complete" else "stopped", meta, backend)

        self._later(work)

    def configure(self, model: str, system: str, params: dict[str, Any]) -> None:
        """What the conversation goes on with."""

        def work(store: Store) -> None:
            if self._conversation is not None:
                store.configure(self._conversation, model=model, system=system, params=params)

        self._later(work)

    def turned(self, node: Node) -> None:
        """Another branch is read."""

        def work(store: Store) -> None:
            if self._conversation is not None and node.stored is not None:
                store.select(self._conversation, node.stored)

        self._later(work)

    def latest(self) -> Future[Kept | None]:
        """The conversation that was written to last, which goes on from now on."""

        def question(store: Store) -> Kept | None:
            found = store.conversations()
            return self._read(store, found[0].id) if found else None

        return self.ask(question)

    def open(self, number: int) -> Future[Kept]:
        """A conversation, which goes on from now on."""
        return self.ask(lambda store: self._read(store, number))

    def again(self) -> Future[Kept | None]:
        """The conversation that goes on, read anew."""

        def question(store: Store) -> Kept | None:
            return None if self._conversation is None else self._read(store, self._conversation)

        return self.ask(question)

    def _read(self, store: Store, number: int) -> Kept:
        conversation, messages = store.conversation(number), store.messages(number)
        self._conversation = number
        siblings = [store.siblings(message.id) for message in messages]
        return Kept(conversation, messages, siblings)

    def close(self) -> None:
        """Write what is left, within a limited time."""
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(_LAST_SECONDS)

    def _later(self, work: Callable[[Store], None]) -> None:
        def job() -> None:
            if self._store is not None:
                work(self._store)

        self._jobs.put(job)

    def _work(self) -> None:
        self._run(self._begin)
        while (job := self._jobs.get()) is not None:
            self._run(job)
        if self._store is not None:
            self._run(self._store.close)

    def _begin(self) -> None:
        self._store = self._open_store()
        for note in self._store.notes:
            self._trouble(note)

    def _run(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001  # a chat goes on where it cannot be saved
            self._trouble(f"this conversation is not being saved: {error}")
