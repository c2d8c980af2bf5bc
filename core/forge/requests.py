"""Which request is in progress, so that it can be cancelled: from when it is asked for."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from types import GeneratorType
from typing import Any, TypeVar

T = TypeVar("T")
E = TypeVar("E")


@dataclass(slots=True, eq=False)
class _Request:
    cancelled: bool = False
    events: Callable[[], Generator[Any, None, Any] | None] = field(default=lambda: None)

    @property
    def alive(self) -> bool:
        """Whether somebody reads its events, or still may."""
        events = self.events()
        return isinstance(events, GeneratorType) and events.gi_frame is not None


class Requests:
    """Owns the request in progress: the last one that was asked for. `ended` follows each."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._now = _Request()
        self._ended = ended

    def asked(
        self, work: Generator[E, None, T], *, cancellable: bool = True
    ) -> Generator[E, None, T]:
        """The same events. It can be cancelled before the first of them is read."""
        request = _Request(cancelled=not cancellable)
        events = self._during(request, work)
        request.events = weakref.ref(events)
        self._now = request
        return events

    def _during(self, request: _Request, work: Generator[E, None, T]) -> Generator[E, None, T]:
        try:
            return (yield from work)
        finally:
            if self._now is request:  # else another one has begun, whose device this is
                self._now = _Request()
                self._ended()

    def cancel(self) -> bool:
        """Have it stop; False if there is none, or it was told already."""
        request = self._now
        if request.cancelled or not request.alive:
            return False
        request.cancelled = True
        return True

    @property
    def cancelled(self) -> bool:
        """Whether the request in progress is to stop."""
        return self._now.cancelled
