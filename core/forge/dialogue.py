"""Numbered requests to a worker, and their answers within the budget of what it is at."""

from __future__ import annotations

import time
from collections.abc import Callable

from forge import errors
from forge.budgets import Budgets
from forge.channel import Channel
from forge.errors import BackendError, BackendHung, BackendLost, ForgeError, UsageError
from forge.messages import (
    Answer,
    Beat,
    Block,
    Cancel,
    Evaluate,
    Failed,
    Finished,
    Generate,
    Hello,
    Load,
    Next,
    Open,
    Opened,
    Probe,
    Profile,
    Started,
    Tokens,
    Warm,
)

OPEN, LOAD = 1, 2
"""The numbers of a worker's first two requests."""
_SAID = (
    *(errors.BackendError, errors.ModelError, errors.GraphError),
    *(errors.UsageError, errors.ContextOverflow),
)
"""What a worker may say went wrong; whatever else it raises is a bug of its backend."""
_AWAY = 0.1
"""Seconds after which the reader of a reply was away: a program that draws it takes less."""
_STALE = 1 << 16
"""Answers of abandoned requests that may still come: far more than a socket holds."""


class Dialogue:
    """Owns the request's number, whether it is `unfinished`, and which ones were abandoned."""

    def __init__(self, channel: Channel[Answer], budgets: Budgets) -> None:
        self.budgets = budgets
        self.unfinished = False
        self._channel = channel
        self._number = LOAD
        self._abandoned: set[int] = set()
        self._dropped = 0
        self.heard = time.monotonic()
        """When the worker last said something, or was last asked to work."""
        self.last: Beat | None = None
        """The last piece of work that the worker named."""
        self._timed = self._left = self.heard
        self._timed_phase = ""
        self._pieces = 0
        self._away = False

    def begin(self, phase: str) -> int:
        """A new request's number; one that was left in the middle is given up."""
        if self.unfinished:
            self.end(self._number)
        self._number += 1
        self.unfinished = True
        self.budgets.phase = phase
        self.heard = self._timed = self._left = time.monotonic()
        self._timed_phase, self._pieces, self._away = "", 0, False
        return self._number

    def end(self, number: int) -> None:
        """Have the worker stop, if it still works for this request; its answers will be dropped."""
        if number != self._number or not self.unfinished:
            return
        self.unfinished = False
        self._abandoned.add(number)
        try:
            if not self._channel.usable or not self._channel.send(Cancel(number), 0.5):
                self._channel.kill()
        except BackendError:
            self._channel.kill()

    def rests(self, seconds: float) -> bool:
        """Whether the worker finished what it was asked, abandoned requests as well.

        It is given so many seconds to say so.
        """
        end = time.monotonic() + seconds
        try:
            while self._abandoned and not self.unfinished:
                answer = self._channel.receive(seconds + 0.01, lambda: time.monotonic() > end)
                if answer is None:
                    return False
                self.heard = time.monotonic()
                if not isinstance(answer, Hello) and answer.id in self._abandoned:
                    self._drop(answer)
        except BackendHung:
            return False
        except BackendError:  # it has ended, or will be when it is asked again
            self._channel.kill()
        return not self.unfinished

    def send(
        self,
        message: Open | Load | Probe | Warm | Generate | Evaluate | Profile | Next,
        interrupted: Callable[[], bool] = lambda: False,
    ) -> None:
        """Under the deadline of the work that it asks for, or that is still to be finished."""
        try:
            self._channel.send(message, self.budgets.seconds(), interrupted)
        except BackendError as error:
            raise self._failed(error) from None

    def receive(self, interrupted: Callable[[], bool], number: int | None = None) -> Answer | None:
        """The next answer; those to abandoned requests are dropped. None: interrupted."""
        while True:
            if number not in (None, self._number):
                raise UsageError("this reply was given up when the next one began")
            try:
                answer = self._channel.receive(
                    self.budgets.seconds(), interrupted, self.budgets.longest()
                )
            except BackendError as error:
                raise self._failed(error) from None
            if answer is None:
                return None
            self._time(answer)
            self._left = self.heard
            if not isinstance(answer, Hello) and answer.id in self._abandoned:
                self._drop(answer)
            elif isinstance(answer, Failed) and answer.id in (0, number or OPEN, number or LOAD):
                self.unfinished = False
                raise _failure(answer)
            elif number is None or (not isinstance(answer, Hello) and answer.id == number):
                return answer
            else:
                raise self.nonsense(answer)

    def _time(self, answer: Answer) -> None:
        """Learn what a piece took: the time since the last one, shared by those that came at once.

        After its reader was away this process does not know when the pieces came that are there by
        now; it does again at the first one that it has to wait for.
        """
        now = time.monotonic()
        phase = _piece(answer)
        if phase != self._timed_phase:
            self._timed_phase, self._timed, self._pieces = phase, self.heard, 0
        self.heard = now
        self._away = (self._away or now - self._left > _AWAY) and not self._channel.awaited
        if phase:
            self._pieces += 1
            if not self._away:
                self.budgets.took(phase, (now - self._timed) / self._pieces, self._pieces)
        if not (phase and self._away):
            self._timed, self._pieces = now, 0
        if isinstance(answer, Beat):
            self.last = answer

    def _drop(self, answer: Answer) -> None:
        if isinstance(answer, Finished | Failed):
            self._abandoned.discard(answer.id)
            self._dropped = 0
        self._dropped += 1
        if self._dropped > _STALE:
            raise self.nonsense(answer)

    def _failed(self, error: BackendError) -> BackendError:
        """The same error with the phase in it; the worker is not worth another word."""
        self.unfinished = False
        return type(error)(f"{error} in {self.budgets.phase}")

    def nonsense(self, answer: object) -> BackendLost:
        """The error for an answer that makes no sense now."""
        self.unfinished = False
        return BackendLost(
            f"the worker answered out of turn in {self.budgets.phase}: {answer!r:.100}"
        )


def _piece(answer: Answer) -> str:
    """The phase of the work that an answer says is finished; "" if it says nothing of the kind."""
    match answer:
        case Beat():
            return answer.phase if answer.done else ""
        case Tokens():
            return "decode"
        case Block():
            return "evaluate"
        case Hello():
            return "start"
        case Opened():
            return "open"
        case Started():
            return "idle"
    return ""


def _failure(answer: Failed) -> ForgeError:
    kind = getattr(errors, answer.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, _SAID)) or kind is errors.NoBackend:
        kind = BackendError
    return kind(answer.message)
