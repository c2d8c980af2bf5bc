"""How much work goes into one submission: little enough that no driver's time limit is near.

A kernel driver resets a compute queue whose job takes 10 s, on some devices 2 s.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from forge.backend import BackendHung, BackendLost
from forge_gpu.device import Queue

_TARGET_S = 0.2
_AHEAD = 2
"""Submissions under way at one time: the device has work while the host looks at the last one."""
_FIRST = {"discrete": 1e12, "integrated": 1e11, "software": 1e9}
"""Multiply-adds a second that are believed before anything was measured."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A recorded command buffer and its multiply-adds."""

    handle: Any
    work: float


class Pace:
    """Knows how fast the device worked; submits pieces in bounded groups, and waits for them."""

    def __init__(self, queue: Queue, kind: str) -> None:
        self._queue = queue
        self._rate = _FIRST.get(kind, 1e10)

    def run(self, pieces: Sequence[Piece]) -> None:
        """All of them, in order, to the end."""
        under_way: deque[tuple[Any, float, float]] = deque()
        before = 0.0
        try:
            for group in self._groups(pieces):
                if len(under_way) == _AHEAD:
                    before = self._finish(under_way, before)
                work = sum(piece.work for piece in group)
                fence = self._queue.submit([piece.handle for piece in group])
                under_way.append((fence, time.monotonic(), work))
            while under_way:
                before = self._finish(under_way, before)
        except (BackendHung, BackendLost):
            raise  # what else is under way does not end either
        except BaseException:
            while under_way:
                before = self._finish(under_way, before)
            raise

    def submit(self, pieces: Sequence[Piece]) -> Any:
        """All of them at once, for work that is little by nature; what to `wait` for."""
        return self._queue.submit([piece.handle for piece in pieces])

    def wait(self, fence: Any) -> None:
        """Until what was submitted is done."""
        self._queue.wait(fence)

    def _finish(self, under_way: deque[tuple[Any, float, float]], before: float) -> float:
        fence, start, work = under_way.popleft()
        self._queue.wait(fence)
        now = time.monotonic()
        seconds = now - max(start, before)
        if work and seconds > 1e-3:
            measured = work / seconds
            # Slower is believed at once, faster by and by.
            self._rate = min(measured, 2 * self._rate)
        return now

    def _groups(self, pieces: Sequence[Piece]) -> Iterator[list[Piece]]:
        group: list[Piece] = []
        work = 0.0
        for piece in pieces:
            if group and work + piece.work > self._rate * _TARGET_S:
                yield group
                group, work = [], 0.0
            group.append(piece)
            work += piece.work
        if group:
            yield group
