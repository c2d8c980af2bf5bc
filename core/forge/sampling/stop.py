"""Stop strings in text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence

from forge.errors import UsageError


class StopMatcher:
    """Passes text on until a stop string is complete; owns the text it holds back.

    The stop string that is complete first wins; of two that end together, the one that began first.
    So the answer does not depend on how the text was cut into pieces. The text up to that beginning
    is emitted, the stop string and what follows it never are. Held back is only what could still
    become a stop string.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        if isinstance(stops, str):
            raise UsageError(f"stop strings come as a list; did you mean [{stops!r}]?")
        for stop in stops:
            if not isinstance(stop, str) or not stop:
                raise UsageError(f"a stop string is {stop!r}; allowed is any text but the empty")
        self._stops = tuple(stops)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""
        self.stopped = False
        """Whether a stop string was complete."""

    def push(self, text: str) -> tuple[str, bool]:
        """What may be shown after this piece, and whether the reply stops here."""
        if self.stopped:
            return "", True
        text = self._held + text
        ends = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.stopped, self._held = True, ""
            return text[: min(ends)[1]], True
        cut = self._first_open(text)
        self._held = text[cut:]
        return text[:cut], False

    def finish(self) -> str:
        """What was held back, now that no more text comes."""
        held, self._held = self._held, ""
        return held

    def _first_open(self, text: str) -> int:
        """Where the longest end of `text` that begins a stop string starts."""
        for at in range(max(0, len(text) - self._longest + 1), len(text)):
            tail = text[at:]
            if any(stop.startswith(tail) for stop in self._stops):
                return at
        return len(text)
