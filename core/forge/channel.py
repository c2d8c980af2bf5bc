"""The host's end of a worker: messages over a socket that never blocks, each with a deadline."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar

import msgspec

from forge.errors import BackendError, BackendHung, BackendLost, BackendUnavailable, UsageError
from forge.frames import ANSWER_BYTES, Assembler, BadFrame, frame
from forge.messages import Answer, Close
from forge.process import Testimony, WorkerProcess
from forge.signs import Signs

SLICE = 0.25
"""Seconds the host waits at one time: a stopped or suspended host is noticed by a longer one."""
_OVERSLEPT = 0.5
_LONGEST = 10.0
"""Budgets after which nothing excuses a silent worker."""
_INSTANT = 0.0005
_READ = 1 << 16

A = TypeVar("A")


def _never() -> bool:
    return False


def _excused(now: Signs, before: Signs | None, waited: float) -> float:
    """Seconds of a wait for which a worker cannot be blamed."""
    delayed, pages = now.since(before) if before else (0.0, 0)
    return waited if pages else min(waited, delayed)


class Channel(Generic[A]):
    """Talks to a worker; every wait has a deadline. Owns the process.

    `answers` is the union of what the worker says, `largest` the most bytes of one answer.
    """

    def __init__(
        self,
        worker: WorkerProcess,
        answers: Any = Answer,
        largest: int = ANSWER_BYTES,
    ) -> None:
        self._worker = worker
        self._largest = largest
        self._assembler: Assembler[A] = Assembler(answers, largest)
        self._torn = False
        self.awaited = False
        """Whether the last message came while it was waited for, and nothing stopped this process:
        then the worker has just sent it. Not so after time for which nobody is to blame: nobody is
        to be judged by it either."""

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._worker.process.pid

    @property
    def board(self) -> int:
        """The file that both share."""
        return self._worker.board

    @property
    def usable(self) -> bool:
        """Whether messages can still be told apart: not after kill, nor after half of one."""
        return self._worker.open and not self._torn

    def send(
        self, message: msgspec.Struct, seconds: float, interrupted: Callable[[], bool] = _never
    ) -> bool:
        """Write a whole message within the budget; False if interrupted before it was out.

        What the worker says meanwhile is kept: one that waits for its reader would not read.
        """
        try:
            rest = memoryview(frame(message))
        except BadFrame as error:
            raise UsageError(f"the request is too large: {error}") from None
        except UnicodeEncodeError as error:  # in what a plugin wants to be told
            raise BackendUnavailable(f"what its worker is to be told is no text: {error}") from None
        whole = len(rest)

        def write(ready: int) -> bool:
            nonlocal rest
            if ready & select.POLLOUT:
                rest = rest[self._connected().send(rest, socket.MSG_NOSIGNAL) :]
            elif ready:
                self._read()
            return not rest

        try:
            self._wait(select.POLLOUT, write, seconds, interrupted)
        finally:
            self._torn |= 0 < len(rest) < whole
        return not rest

    def receive(
        self, seconds: float, interrupted: Callable[[], bool] = _never, longest: float = 0.0
    ) -> A | None:
        """The next message, or None once `interrupted` says so.

        The budget counts only time in which this process itself ran: a slice that took much longer
        than asked (suspend, Ctrl-Z, a debugger) starts it anew. Nor does it count time for which
        the worker lacked a core, or in which its pages came from a disk: up to ten budgets, or
        `longest` seconds if that is more. Half a message is no progress.
        """
        self.awaited = False
        if interrupted():
            return None
        found = self._take()

        def read(_: int) -> bool:
            nonlocal found
            self._read()
            found = self._take()
            return found is not None

        if found is None:
            self._wait(select.POLLIN, read, seconds, interrupted, longest)
        return found

    def gather(self) -> None:
        """Take what has come off the socket without a wait, so that the worker can go on."""
        try:
            while self.usable and self._assembler.pending < self._largest:
                self._read()
        except OSError:
            pass
        except BackendError:
            self._torn = True  # it has ended: not to be asked again

    @property
    def pending(self) -> bool:
        """Whether something that came has not been taken yet."""
        return self._assembler.pending > 0

    def _wait(
        self,
        what: int,
        step: Callable[[int], bool],
        seconds: float,
        interrupted: Callable[[], bool],
        longest: float = 0.0,
    ) -> None:
        """Call `step` whenever the socket is ready, until it is satisfied."""
        poll = select.poll()
        poll.register(self._connected(), what)
        waited, awaited, before, elapsed = 0.0, True, None, 0.0
        while not interrupted():
            part = min(SLICE, seconds - waited)
            if part <= 0:
                now = self._worker.signs()
                if (
                    self._worker.traced()
                ):  # by somebody with a debugger, who takes the time it takes
                    waited, awaited, before = 0.0, False, now
                    continue
                excused = _excused(now, before, waited)
                awaited = awaited and not excused > _OVERSLEPT
                waited -= excused
                before = now
                if waited + _OVERSLEPT / 10 >= seconds or elapsed > max(
                    _LONGEST * seconds, longest
                ):
                    raise BackendHung(f"no progress for {seconds:.3g} s")
                continue
            reading = select.POLLIN if self._assembler.pending < self._largest else 0
            poll.modify(self._connected(), what | reading)
            self._worker.tidy()
            started = time.monotonic()
            ready = poll.poll(part * 1000)
            took = time.monotonic() - started
            if not ready and before is None:
                before = self._worker.signs()
            if took > part + _OVERSLEPT:
                waited, awaited, before = 0.0, False, None
            else:
                waited += took
                elapsed += took
            try:
                if ready and step(ready[0][1]):
                    self.awaited = awaited and took > _INSTANT
                    return
            except BlockingIOError:
                continue
            except OSError:
                raise BackendLost(self._worker.last_words()) from None

    def _read(self) -> None:
        self._torn = True  # an exception between these lines loses bytes
        try:
            data = self._connected().recv(_READ)
        except BlockingIOError:
            self._torn = False
            raise
        self._assembler.feed(data)
        self._torn = False
        if not data:
            raise BackendLost(self._worker.last_words())

    def _take(self) -> A | None:
        try:
            return self._assembler.take()
        except BadFrame as error:
            raise BackendLost(f"the worker sent something that is no message: {error}") from None

    def _connected(self) -> socket.socket:
        if not self._worker.open:
            raise BackendLost("the worker was stopped")
        return self._worker.socket

    @property
    def struck(self) -> bool:
        """Whether somebody else ended the worker."""
        return self._worker.struck

    def testimony(self) -> Testimony:
        """What can be known of a worker that is silent."""
        return self._worker.testimony()

    def log_tail(self) -> str:
        """The end of what the worker and its driver printed."""
        return self._worker.log_tail()

    def close(self, seconds: float = 2.0) -> None:
        """Ask the worker to give its device back and end; kill it when it does not."""
        try:
            if self.usable:
                with suppress(BackendError):
                    self.send(Close(), 0.5)
                    self._worker.ended(seconds)
        finally:
            self.kill()

    def kill(self, seconds: float = 1.0) -> bool:
        """SIGKILL; False if the process is still there, stuck in its driver: it is left behind."""
        return self._worker.kill(seconds)
