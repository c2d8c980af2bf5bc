"""The worker as a process: how it is started, tied to the host's life, and killed."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from forge.errors import BackendLost
from forge.log import Log
from forge.signs import Signs, held, signs, whereabouts

_F_SETSIG = 10  # Linux's fcntl(2); Python does not name it
_LOWEST = 3


STACK_SIGNAL = signal.SIGUSR2
"""Has a worker write the stacks of its threads to its log; a call that never returns is no obstacle
(faulthandler, Python's)."""


FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals that no driver sends: they come from a person, or from a kernel that lacks memory."""


@dataclass(frozen=True, slots=True)
class Testimony:
    """What was found out of a silent worker before it is killed.

    threads: of each its state and the kernel's function that it waits in. stack: Python's, the
    innermost call first. log: the end of what it printed before.
    """

    threads: tuple[str, ...] = ()
    stack: str = ""
    log: str = ""


class WorkerProcess:
    """Owns the process, the host's end of its socket, its log, its lifeline, and the board.

    The board is an anonymous file that both share, for results too large for messages.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self._host = os.getpid()
        with _interrupts_later(), ExitStack() as ours, ExitStack() as theirs:
            try:
                self.board = _closing(ours, _anonymous_file())
                self._log = Log()  # a pipe could fill up, and block the driver's prints
                ours.callback(self._log.close)
                self.socket, other = socket.socketpair()
                ours.enter_context(self.socket)
                connection = _closing(theirs, other.detach())
                end, lifeline = os.pipe()
                end = _closing(theirs, end)
                _closing(ours, lifeline)
                self.process = subprocess.Popen(
                    [*command, str(connection), str(self.board), str(end)],
                    pass_fds=(connection, self.board, end),
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=self._log.descriptor,
                    stderr=self._log.descriptor,
                    start_new_session=True,  # the terminal's signals are for the host
                )
            except (OSError, ValueError) as error:  # a plugin's variable may be none
                raise BackendLost(f"the worker cannot be started: {error}") from None
            _tie(end, self.process.pid)
            self.socket.setblocking(False)
            self._resources = ours.pop_all()
            self.open = True
            _open.add(self)

    def kill(self, seconds: float) -> bool:
        """SIGKILL to it and what it started; False if it stays, stuck in its driver."""
        try:
            if self._mine and self.process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGKILL)
                self.ended(seconds)
        finally:
            if self.open:
                self.open = False
                self._log.tail()
                self._resources.close()
        return not self._mine or self.process.poll() is not None

    @property
    def _mine(self) -> bool:
        """Whether this process started it, rather than one that it was forked from."""
        return self._host == os.getpid()

    def ended(self, seconds: float) -> bool:
        """Whether it ends by itself within that time."""
        if hasattr(os, "pidfd_open") and self.process.poll() is None:
            with suppress(OSError):  # Popen.wait(seconds) sleeps between looks, up to 50 ms
                descriptor = os.pidfd_open(self.process.pid)
                try:
                    poll = select.poll()
                    poll.register(descriptor, select.POLLIN)
                    poll.poll(seconds * 1000)
                    seconds = 0
                finally:
                    os.close(descriptor)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.returncode is not None

    def testimony(self, seconds: float = 0.05) -> Testimony:
        """Where its threads are; its Python stack as well, if it can still tell in that time."""
        log, where = self.log_tail(), whereabouts(self.process.pid)
        stack = ""
        if self.open and self.process.poll() is None:
            start = self._log.position
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, STACK_SIGNAL)
            end = time.monotonic() + seconds
            while time.monotonic() < end and not stack.endswith("\n"):
                time.sleep(0.005)
                stack = self._log.since(start)
        return Testimony(where, stack, log)

    def signs(self) -> Signs:
        """What the kernel says of it."""
        return signs(self.process.pid)

    def traced(self) -> bool:
        """Whether a debugger holds it."""
        return held(self.process.pid)

    @property
    def struck(self) -> bool:
        """Whether somebody else ended it."""
        return -(self.process.poll() or 0) in FROM_OUTSIDE

    def last_words(self) -> str:
        """How it ended, and the last line it printed."""
        self.ended(1)
        code = self.process.returncode
        if code is None:
            how = "the worker closed its connection"
        elif code < 0:
            how = f"the worker was killed by {_signal_name(-code)}"
            if -code in FROM_OUTSIDE:
                how += ", not by forge"
        else:
            how = f"the worker ended with exit code {code}"
        lines = self.log_tail().strip().splitlines()
        return f"{how}: {lines[-1].strip()[:200]}" if lines else how

    def log_tail(self) -> str:
        """The end of what it and its driver printed."""
        return self._log.tail()

    def tidy(self) -> None:
        """Make room in its log, where it has filled much of it."""
        if self.open:
            self._log.tidy()

    def disown(self) -> None:
        """In a fork of the host: it is the other process's, and no descriptor may keep it alive."""
        self.open = False
        self._log.tail()
        self._resources.close()

    def __del__(self) -> None:
        if getattr(self, "open", False):
            self.kill(1)


_open: weakref.WeakSet[WorkerProcess] = weakref.WeakSet()


def _after_fork() -> None:
    for worker in list(_open):
        if worker.open:
            worker.disown()


os.register_at_fork(after_in_child=_after_fork)


def _tie(lifeline: int, pid: int) -> None:
    """Have the kernel kill the worker's session when the pipe's other end closes.

    It needs neither the worker's help nor its interpreter's lock, and works from its first
    instruction on. (PR_SET_PDEATHSIG would follow the thread that started the worker, not the
    process.) Owner, signal and O_ASYNC belong to the open file, which the worker has inherited:
    they outlive the host's copy of the descriptor.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # it may have ended already
            fcntl.fcntl(lifeline, fcntl.F_SETOWN, -pid)
            fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
            flags = fcntl.fcntl(lifeline, fcntl.F_GETFL)
            fcntl.fcntl(lifeline, fcntl.F_SETFL, flags | os.O_ASYNC)


@contextmanager
def _interrupts_later() -> Iterator[None]:
    """Hold Ctrl-C back: between fork and the first reference to it, a process would be lost."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _closing(stack: ExitStack, fd: int) -> int:
    """Have the stack close it; moved out of the way where the host has no stdin or stdout."""
    if fd < _LOWEST:
        low, fd = fd, fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _LOWEST)
        os.close(low)
    stack.callback(os.close, fd)
    return fd


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
