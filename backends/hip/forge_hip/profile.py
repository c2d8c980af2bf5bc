"""Time stamps around launched kernels."""

from __future__ import annotations

from collections.abc import Callable

from forge_hip.runtime.events import Event
from forge_hip.runtime.stream import Stream


class Profile:
    """Owns events around launches: how long each took, by its label.

    Every run records the same events again.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._events: list[tuple[Event, Event]] = []
        self._labels: list[tuple[str, str]] = []

    def around(self, step: Callable[[], None], label: str, kernel: str) -> Callable[[], None]:
        """The same step with an event before it and one after it."""
        before, after = self._stream.timed(), self._stream.timed()
        self._events.append((before, after))
        self._labels.append((label, kernel))

        def timed() -> None:
            self._stream.record(before)
            step()
            self._stream.record(after)

        return timed

    def read(self) -> list[tuple[str, str, float, float]]:
        """Label, kernel, begin and end of each in seconds since the first, once all has run."""
        if not self._events:
            return []
        first = self._events[0][0]
        return [
            (*label, begin.seconds_since(first), end.seconds_since(first))
            for label, (begin, end) in zip(self._labels, self._events, strict=True)
        ]

    def close(self) -> None:
        """Give the events back."""
        while self._events:
            for event in self._events.pop():
                event.close()
