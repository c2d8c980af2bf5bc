"""The host's handle on one worker: one backend that holds one model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forge.budgets import Budgets
from forge.channel import Channel
from forge.dialogue import LOAD, OPEN, Dialogue
from forge.errors import BackendLost
from forge.events import Event, FinishReason, Loading, Prefill, Ready, Token
from forge.health import Check, Watch
from forge.messages import (
    BLOCK_BYTES,
    Answer,
    Beat,
    Block,
    Evaluate,
    Finished,
    Generate,
    Hello,
    Load,
    Loaded,
    Next,
    Open,
    Opened,
    Started,
    Tokens,
    Warm,
    Warmed,
)
from forge.sampling import SamplingParams
from forge.spec import BackendSpec
from forge.worker_options import WorkerOptions

_FRAME = 1 / 60
"""Seconds that a token may wait for the next: no screen shows more pictures."""


@dataclass(slots=True)
class Pace:
    """How one reply went: host's clock, so that the supervision's own cost is in it."""

    asked: float = 0.0
    first: float | None = None
    last: float | None = None
    prefilled: int = 0
    decoded: int = 0


class Runner:
    """Starts the worker and asks for the model at once; `ready` waits for it."""

    def __init__(self, spec: BackendSpec, options: WorkerOptions) -> None:
        self.spec = spec
        self.ready_info: Ready | None = None
        self.vocabulary = 0
        self.pace = Pace()
        self._budgets = Budgets(options.patience, options.seconds)
        self._started = time.monotonic()
        self._device: str | None = None
        self.checks: tuple[Check, ...] = ()
        worker = options.ahead.take(options.command, options.environment(spec))
        self._channel: Channel[Answer] = Channel(worker)
        self._dialogue = Dialogue(self._channel, self._budgets)
        try:
            asked = spec.name == options.asked
            # A floor is what is left when the device that was chosen is not.
            device = options.device if asked or not (options.asked or spec.floor) else None
            self._dialogue.send(
                Open(OPEN, spec.factory, device, options.threads, dict(spec.options), asked)
            )
            if options.model is not None:
                self._dialogue.send(
                    Load(LOAD, os.fsencode(options.model), options.context, options.kv_type)
                )
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._channel.pid

    @property
    def phase(self) -> str:
        """What the worker is at."""
        return self._budgets.phase

    @property
    def watch(self) -> Watch | None:
        """What the watchdog sees; None while the worker has nothing to do."""
        if self.ready_info and not self._dialogue.unfinished:
            return None
        age = time.monotonic() - self._dialogue.heard
        return Watch(self.spec.name, self.phase, age, self._budgets.seconds())

    @property
    def context(self) -> int:
        """How many tokens the model's context holds; 0 before it is loaded."""
        return self.ready_info.context if self.ready_info else 0

    @property
    def usable(self) -> bool:
        """Whether it can be asked: not after `kill`, nor after half a message."""
        return self._channel.usable

    def ready(self, interrupted: Callable[[], bool]) -> Generator[Event, None, bool]:
        """Wait until the model answers; False when interrupted."""
        while self.ready_info is None:
            match answer := self._dialogue.receive(interrupted):
                case None:
                    return False
                case Hello() if self.phase == "start":
                    self._budgets.enter("open")
                    yield Loading(self.spec.name, "open")
                case Opened(id=1) if self.phase == "open":
                    self._device, self.checks = answer.device, tuple(answer.checks)
                    self._budgets.enter("load")
                    yield Loading(self.spec.name, "load", detail=answer.device)
                case Beat(id=2, phase="load" | "compile" | "check") if self._device is not None:
                    self._budgets.beat(answer.phase, answer.done, answer.total)
                    yield Loading(
                        self.spec.name, answer.phase, answer.done, answer.total, answer.detail
                    )
                case Loaded(id=2) if self._device is not None:
                    seconds = time.monotonic() - self._started
                    self.vocabulary = answer.vocabulary
                    self.ready_info = Ready(
                        self.spec.name, self._device, answer.context, seconds, tuple(answer.notes)
                    )
                    yield self.ready_info
                case _:
                    raise self._dialogue.nonsense(answer)
        return True

    def opened(self) -> Opened:
        """Without a model: wait for the device alone."""
        while True:
            match answer := self._dialogue.receive(lambda: False):
                case Hello() if self.phase == "start":
                    self._budgets.enter("open")
                case Opened(id=1) if self.phase == "open":
                    return answer
                case _:
                    raise self._dialogue.nonsense(answer)

    def warm(self, model: Path | None, kv_type: str | None) -> Generator[Loading, None, str]:
        """Have the backend prepare for a model, or for any; the folder where it keeps that."""
        number = self._dialogue.begin("compile")
        path = None if model is None else os.fsencode(model)
        self._dialogue.send(Warm(number, path, kv_type))
        while True:
            match answer := self._dialogue.receive(lambda: False, number):
                case Beat(phase="compile"):
                    self._budgets.beat("compile", answer.done)
                    yield Loading(
                        self.spec.name, "compile", answer.done, answer.total, answer.detail
                    )
                case Warmed():
                    self._dialogue.unfinished = False
                    return answer.folder
                case _:
                    raise self._dialogue.nonsense(answer)

    def generate(
        self,
        tokens: Sequence[int],
        params: SamplingParams,
        count: int,
        stops: Sequence[int],
        interrupted: Callable[[], bool],
        *,
        reuse: bool = True,
    ) -> Generator[Prefill | Token, None, FinishReason]:
        """The reply's tokens as they come; returns why it ended."""
        number = self._dialogue.begin("prefill")
        made = done = 0
        self.pace = Pace(asked=time.monotonic())
        request = Generate(number, list(tokens), count, list(stops), params.to_dict(), reuse)
        try:
            self._dialogue.send(request, interrupted)
            while True:
                self._gather(count - made)
                answer = self._dialogue.receive(interrupted, number)
                if answer is None:
                    return "cancelled"
                match answer:
                    case Started() if answer.kept < len(tokens):
                        self.pace.prefilled = len(tokens) - answer.kept
                    case Beat(phase="prefill") if done < answer.done <= answer.total == len(tokens):
                        done = answer.done
                        self._budgets.beat("prefill")
                        yield Prefill(answer.done, answer.total)
                    case Tokens():
                        made += len(answer.ids)
                        if made > count or max(answer.ids) >= self.vocabulary:
                            raise self._dialogue.nonsense(answer)
                        self._budgets.enter("decode")
                        for token in answer.ids:
                            self._time()
                            yield Token(token)
                    case Finished():
                        self._dialogue.unfinished = False
                        return answer.reason
                    case _:
                        raise self._dialogue.nonsense(answer)
        finally:
            self._dialogue.end(number)

    def logits(self, tokens: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """The logits after each token, in blocks f32 [n, vocabulary]."""
        number, row = self._dialogue.begin("evaluate"), 0
        try:
            self._dialogue.send(Evaluate(number, list(tokens)))
            while (answer := self._dialogue.receive(lambda: False, number)) is not None:
                match answer:
                    case Block() if answer.start == row and answer.count <= len(tokens) - row:
                        self._budgets.beat("evaluate")
                        row += answer.count
                        yield self._board(answer.count)
                        self._dialogue.send(Next(number))
                    case Finished() if row == len(tokens):
                        self._dialogue.unfinished = False
                        return
                    case _:
                        raise self._dialogue.nonsense(answer)
        finally:
            self._dialogue.end(number)

    def _board(self, rows: int) -> NDArray[np.float32]:
        """The block on the board, which is emptied: one never written must not look like it."""
        size = 4 * rows * self.vocabulary
        if os.fstat(self._channel.board).st_size != size or (rows > 1 and size > BLOCK_BYTES):
            raise BackendLost("the worker did not write the logits that it said it wrote")
        out = np.empty((rows, self.vocabulary), np.float32)
        view, at = memoryview(out.data).cast("B"), 0
        while at < len(view):
            read = os.preadv(self._channel.board, [view[at : at + (1 << 24)]], at)
            if not read:
                raise BackendLost("the worker took back the logits that it wrote")
            at += read
        os.ftruncate(self._channel.board, 0)
        return out

    def _gather(self, left: int) -> None:
        """Let quick tokens come together, `left` of them at most: each wake-up of this process
        would take a core from the worker's threads, where they are on the processor's cores."""
        pace = self.pace
        if pace.first is None or pace.last is None or pace.decoded < 2 or self._channel.pending:
            return
        each = (pace.last - pace.first) / pace.decoded
        seconds = min(_FRAME, (left - 1) * each) - (time.monotonic() - pace.last)
        if seconds > 0:
            time.sleep(seconds)

    def _time(self) -> None:
        now = time.monotonic()
        if self.pace.first is None:
            self.pace.first = now
        else:
            self.pace.decoded += 1
        self.pace.last = now

    def log_tail(self) -> str:
        """The end of what the worker printed."""
        return self._channel.log_tail()

    def close(self) -> None:
        """Let the worker give its device back, kill it if it takes too long."""
        self._channel.close()

    def kill(self) -> bool:
        """SIGKILL; False if the process is stuck in its driver and was left behind."""
        return self._channel.kill()

    def gone(self) -> bool:
        """Whether a killed process has left its driver; looks without waiting."""
        return self._channel.kill(0)
