"""The host's end of a worker: a process, a socket that never blocks, and the right to kill."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from forge.errors import BackendError, BackendHung, BackendLost
from forge.frames import Assembler, BadFrame, frame
from forge.messages import Answer, Close, Request

SLICE = 0.25
"""Seconds the host waits at one time: a stopped or suspended host is noticed by a longer one."""
_OVERSLEPT = 0.5
_READ = 1 << 18
_TAIL = 2000


class Channel:
    """Starts a worker and talks to it; every wait has a deadline. Owns the process.

    `board` is an anonymous file that both share, for results too large for messages.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.board = _anonymous_file()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed in kill(); a pipe could fill up
        ours, theirs = socket.socketpair()
        lifeline, self._lifeline = os.pipe()
        fds = [theirs.fileno(), self.board, lifeline]
        try:
            self.process = subprocess.Popen(
                [*command, *map(str, fds)],
                pass_fds=fds,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                start_new_session=True,  # the terminal's signals are for the host
            )
        except BaseException as error:
            for fd in (self.board, self._lifeline):
                os.close(fd)
            ours.close()
            self._log.close()
            if isinstance(error, OSError):
                raise BackendLost(f"the worker cannot be started: {error}") from None
            raise
        finally:
            theirs.close()
            os.close(lifeline)
        ours.setblocking(False)
        self._socket: socket.socket | None = ours
        self._tail = b""
        self._assembler: Assembler[Answer] = Assembler(Answer)

    def send(self, message: Request, seconds: float) -> None:
        """Write a whole message within the budget; BackendHung or BackendLost otherwise."""
        rest = memoryview(frame(message))

        def write() -> bool:
            nonlocal rest
            rest = rest[self._connected().send(rest) :]
            return not rest

        self._wait(select.POLLOUT, write, seconds, lambda: False)

    def receive(
        self, seconds: float, interrupted: Callable[[], bool] = lambda: False
    ) -> Answer | None:
        """The next message, or None once `interrupted` says so.

        The budget counts only time in which this process itself ran: a slice that took much longer
        than asked (suspend, Ctrl-Z, a debugger) starts it anew. Half a message is no progress.
        """
        found: Answer | None = None

        def read() -> bool:
            nonlocal found
            self._assembler.feed(self._read())
            found = self._take()
            return found is not None

        found = self._take()
        if found is None:
            self._wait(select.POLLIN, read, seconds, interrupted)
        return found

    def _wait(
        self, what: int, step: Callable[[], bool], seconds: float, interrupted: Callable[[], bool]
    ) -> None:
        """Call `step` whenever the socket is ready, until it is satisfied."""
        poll = select.poll()
        poll.register(self._connected(), what)
        waited = 0.0
        while not interrupted():
            part = min(SLICE, seconds - waited)
            if part <= 0:
                raise BackendHung(f"no progress for {seconds:.3g} s")
            before = time.monotonic()
            ready = poll.poll(part * 1000)
            took = time.monotonic() - before
            waited = 0.0 if took > part + _OVERSLEPT else waited + took
            try:
                if ready and step():
                    return
            except BlockingIOError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                raise BackendLost(self._last_words()) from None

    def _read(self) -> bytes:
        data = self._connected().recv(_READ)
        if not data:
            raise BackendLost(self._last_words())
        return data

    def _take(self) -> Answer | None:
        try:
            return self._assembler.take()
        except BadFrame as error:
            raise BackendLost(f"the worker sent something that is no message: {error}") from None

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise BackendLost("the worker was stopped")
        return self._socket

    def _last_words(self) -> str:
        """How the process ended, and the last line it printed."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        code = self.process.returncode
        if code is None:
            how = "the worker closed its connection"
        elif code < 0:
            how = f"the worker was killed by {_signal_name(-code)}"
        else:
            how = f"the worker ended with exit code {code}"
        lines = self.log_tail().strip().splitlines()
        return f"{how}: {lines[-1].strip()[:200]}" if lines else how

    def log_tail(self) -> str:
        """The end of what the worker and its driver printed."""
        if not self._log.closed:
            size = os.fstat(self._log.fileno()).st_size
            self._tail = os.pread(self._log.fileno(), _TAIL, max(0, size - _TAIL))
        return self._tail.decode(errors="replace")

    def close(self, seconds: float = 2.0) -> None:
        """Ask the worker to give its device back and end; kill it when it does not."""
        if self._socket is not None:
            with suppress(BackendError):
                self.send(Close(), 0.5)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        self.kill()

    def kill(self, seconds: float = 1.0) -> bool:
        """SIGKILL; False if the process is still there, stuck in its driver: it is left behind."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(seconds)
        if self._socket is not None:
            self.log_tail()
            self._socket.close()
            self._socket = None
            self._log.close()
            os.close(self.board)
            os.close(self._lifeline)
        return self.process.poll() is not None

    def __del__(self) -> None:
        if getattr(self, "_socket", None) is not None:
            self.kill(0)


def _anonymous_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("forge-board")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
