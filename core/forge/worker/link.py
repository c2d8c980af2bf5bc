"""The worker's end of the connection: it may wait, the host decides how long."""

from __future__ import annotations

import select
import socket
from typing import Any, Generic, TypeVar

import msgspec

from forge.frames import ANSWER_BYTES, Assembler, BadFrame, frame
from forge.messages import Cancel, Next, Request

R = TypeVar("R")

_READ = 1 << 18


class HostGone(Exception):
    """The host closed the connection, or sent noise: the worker's work is over."""


class Link(Generic[R]):
    """Blocking messages, and a look at what has come without waiting.

    `requests` is the union of what the host says, `largest` the most bytes of one answer.
    """

    def __init__(
        self, connection: socket.socket, requests: Any = Request, largest: int = ANSWER_BYTES
    ) -> None:
        self._socket = connection
        self._poll = select.poll()  # select() takes no descriptor above 1023
        self._poll.register(connection, select.POLLIN)
        self._assembler: Assembler[R] = Assembler(requests)
        self._largest = largest
        self._waiting: list[R] = []

    def send(self, message: msgspec.Struct) -> None:
        """Write a whole message."""
        try:
            self._socket.sendall(frame(message, self._largest))
        except OSError:
            raise HostGone from None

    def receive(self) -> R:
        """The next request."""
        while not self._waiting:
            self._read()
        return self._waiting.pop(0)

    def cancelled(self, request: int) -> bool:
        """Whether the host gave up on this request; looks without waiting."""
        while self._poll.poll(0):
            self._read()
        return any(isinstance(m, Cancel) and m.id == request for m in self._waiting)

    def next_block(self, request: int) -> bool:
        """Wait for the host to have read a block; False when it gave the request up."""
        while True:
            for message in self._waiting:
                if isinstance(message, Cancel) and message.id == request:
                    return False
                if isinstance(message, Next) and message.id == request:
                    self._waiting.remove(message)
                    return True
            self._read()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ)
            if not data:
                raise HostGone
            self._assembler.feed(data)
            while (message := self._assembler.take()) is not None:
                self._waiting.append(message)
        except (OSError, BadFrame):
            raise HostGone from None
