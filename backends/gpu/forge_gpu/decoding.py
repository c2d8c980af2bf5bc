"""One token after the other on the device: a recorded step that finds the next token by itself, or
the few logits that can be drawn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from forge.backend import Array, BackendError, Sampler
from forge_gpu.frame import Frame
from forge_gpu.pacing import Pace
from forge_gpu.recordings import AHEAD, Recordings
from forge_gpu.steps.sampling import (
    MOST_CANDIDATES,
    found_candidates,
    greedy_logit,
    greedy_token,
)


class Decoding:
    """Runs the recorded steps of one token; knows which are under way."""

    def __init__(
        self, frame: Frame, pace: Pace, recorded: Recordings, row: Callable[[], Array]
    ) -> None:
        self._frame, self._pace, self._recorded, self._row = frame, pace, recorded, row
        self._start = recorded.setting(frame)
        self._under_way: deque[Any] = deque()
        self.open = True

    def tokens(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int
    ) -> Iterator[int]:
        """As `Executable.decode` has it; the sampler needs some candidates, not all logits."""
        steps = self._greedy_steps if sampler.candidates == 1 else self._drawn_steps
        try:
            for found in steps(token, start, count, sampler, slot):
                sampler.accept(found)
                yield found
        finally:
            self.finish()

    def finish(self) -> None:
        """Wait for what is under way."""
        while self._under_way:
            self._pace.wait(self._under_way.popleft())

    def _set(self, token: int, position: int, slot: int) -> None:
        one = {"tokens": token, "positions": position, "slots": slot, "rows": 0}
        self._frame.set(**{name: np.array([value], np.int32) for name, value in one.items()})

    def _greedy_steps(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int
    ) -> Iterator[int]:
        """The device feeds each token to the next step: the host follows behind.

        The sampler hears the logit that decided, which costs nothing and lets it see what is wrong.
        """
        self._set(token, start, slot)
        submitted = 0
        for index in range(count):
            self._check_open()
            while submitted < min(count, index + AHEAD):
                first = [self._start] if submitted == 0 else []
                step = self._recorded.greedy[submitted % AHEAD]
                self._under_way.append(self._pace.submit([*first, *step]))
                submitted += 1
            self._pace.wait(self._under_way.popleft())
            result = self._recorded.results[index % AHEAD].view()
            found = np.array([greedy_token(result)])
            logit = np.array([greedy_logit(result)], np.float32)
            yield sampler.sample_from(found, logit, start + index + 1)

    def _drawn_steps(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int
    ) -> Iterator[int]:
        """The host draws from the candidates; where they are too many, from the whole row."""
        pieces, result = self._recorded.candidates(sampler.candidates)
        for position in range(start, start + count):
            self._check_open()
            self._set(token, position, slot)
            self._under_way.append(self._pace.submit([self._start, *pieces]))
            self._pace.wait(self._under_way.popleft())
            found = found_candidates(result.view())
            if found is None or len(found.ids) < sampler.candidates:
                self._pace.run(self._recorded.read_logits())
                token = sampler.sample(self._row(), position + 1)
            else:
                token = sampler.sample_from(found.ids, found.logits, position + 1)
            yield token

    def _check_open(self) -> None:
        if not self.open:
            raise BackendError("this executable is closed")


def decides(sampler: Sampler) -> bool:
    """Whether the device can find what decides the draw."""
    return 0 < sampler.candidates <= MOST_CANDIDATES
