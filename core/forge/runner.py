"""The host's handle on one worker: one backend that holds one model."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forge import errors
from forge.budgets import Budgets
from forge.channel import Channel
from forge.errors import BackendError, BackendHung, BackendLost, ForgeError
from forge.events import Event, FinishReason, Loading, Prefill, Ready, Token
from forge.health import Check
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
    Loaded,
    Next,
    Open,
    Opened,
    Started,
    Tokens,
)
from forge.sampling import SamplingParams
from forge.spec import BackendSpec


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What every worker of an engine is started with."""

    model: str | None
    context: int | None = None
    device: str | None = None
    threads: int | None = None
    patience: float = 1.0


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
        self.phase = "start"
        self.ready_info: Ready | None = None
        self.vocabulary = 0
        self.pace = Pace()
        self._budgets = Budgets(options.patience)
        self._started = time.monotonic()
        self._number = 2
        self._channel = Channel(
            [sys.executable, "-P", "-m", "forge.worker"], _environment(spec, options)
        )
        try:
            self._send(Open(1, spec.factory, options.device, options.threads, dict(spec.options)))
            if options.model is not None:
                self._send(Load(2, options.model, options.context))
        except BackendError:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """The worker's process id."""
        return self._channel.process.pid

    def ready(self, interrupted: Callable[[], bool]) -> Generator[Event, None, bool]:
        """Wait until the model answers; False when interrupted."""
        if self.ready_info:
            return True
        device = ""
        while (answer := self._receive(interrupted)) is not None:
            match answer:
                case Hello():
                    self._enter("open")
                    yield Loading(self.spec.name, "open")
                case Opened():
                    device = answer.device
                    self._enter("load")
                    yield Loading(self.spec.name, "load", detail=device)
                case Beat():
                    self._beat(answer.phase)
                    yield Loading(
                        self.spec.name, answer.phase, answer.done, answer.total, answer.detail
                    )
                case Loaded():
                    self._enter("prefill")
                    seconds = time.monotonic() - self._started
                    self.vocabulary = answer.vocabulary
                    self.ready_info = Ready(
                        self.spec.name, device, answer.context, seconds, tuple(answer.notes)
                    )
                    yield self.ready_info
                    return True
                case _:
                    raise self._nonsense(answer)
        return False

    def opened(self) -> tuple[str, list[Check]]:
        """Without a model: wait for the device alone."""
        while True:
            match answer := self._receive(lambda: False):
                case Hello():
                    self._enter("open")
                case Opened():
                    return answer.device, answer.checks
                case _:
                    raise BackendLost(f"the worker answered out of turn: {answer!r:.100}")

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
        self._number += 1
        number, made, finished = self._number, 0, False
        self.pace = Pace(asked=time.monotonic())
        self.phase = "prefill"
        try:
            self._send(Generate(number, list(tokens), count, list(stops), params.to_dict(), reuse))
            while (answer := self._receive(interrupted, number)) is not None:
                match answer:
                    case Started():
                        self.pace.prefilled = len(tokens) - answer.kept
                    case Beat():
                        self._beat(answer.phase)
                        yield Prefill(answer.done, answer.total)
                    case Tokens():
                        self._enter("decode")
                        for token in answer.ids:
                            made += 1
                            if not 0 <= token < self.vocabulary or made > count:
                                raise self._nonsense(answer)
                            self._time()
                            yield Token(token)
                    case Finished():
                        finished = True
                        return answer.reason
                    case _:
                        raise self._nonsense(answer)
            return "cancelled"
        finally:
            if not finished:
                self._abandon(number)

    def logits(self, tokens: Sequence[int]) -> Iterator[NDArray[np.float32]]:
        """The logits after each token, in blocks f32 [n, vocabulary]."""
        self._number += 1
        number, finished, row = self._number, False, 0
        self.phase = "evaluate"
        try:
            self._send(Evaluate(number, list(tokens)))
            while (answer := self._receive(lambda: False, number)) is not None:
                match answer:
                    case Block() if answer.start == row and 0 < answer.count <= len(tokens) - row:
                        self._beat("evaluate")
                        row += answer.count
                        yield self._board(answer.count)
                        self._send(Next(number))
                    case Finished() if row == len(tokens):
                        finished = True
                        return
                    case _:
                        raise self._nonsense(answer)
        finally:
            if not finished:
                self._abandon(number)

    def _board(self, rows: int) -> NDArray[np.float32]:
        out = np.empty((rows, self.vocabulary), np.float32)
        view, at = memoryview(out.data).cast("B"), 0
        while at < len(view):
            read = os.preadv(self._channel.board, [view[at : at + (1 << 24)]], at)
            if not read:
                raise BackendLost("the worker wrote fewer logits than it said")
            at += read
        return out

    def _time(self) -> None:
        now = time.monotonic()
        if self.pace.first is None:
            self.pace.first = now
        else:
            self.pace.decoded += 1
        self.pace.last = now

    def _enter(self, phase: str) -> None:
        """The phase so far has finished a piece; the next belongs to `phase`."""
        self._budgets.beat(self.phase)
        if phase == self.phase:
            self._budgets.beat(phase)
        self.phase = phase

    def _beat(self, phase: str) -> None:
        self.phase = phase
        self._budgets.beat(phase)

    def _send(self, message: Open | Load | Generate | Evaluate | Next | Cancel) -> None:
        self._channel.send(message, self._budgets.seconds("start"))

    def _receive(self, interrupted: Callable[[], bool], number: int | None = None) -> Answer | None:
        """The next answer to request `number`; older requests' answers are dropped."""
        while True:
            seconds = self._budgets.seconds(self.phase)
            try:
                answer = self._channel.receive(seconds, interrupted)
            except BackendHung as error:
                raise BackendHung(f"{error} in {self.phase}") from None
            except BackendLost as error:
                raise BackendLost(f"{error} in {self.phase}") from None
            if answer is None:
                return None
            if number is not None and not isinstance(answer, Hello) and answer.id < number:
                continue
            if isinstance(answer, Failed):
                raise _failure(answer)
            if number is not None and (isinstance(answer, Hello) or answer.id != number):
                raise self._nonsense(answer)
            return answer

    def _nonsense(self, answer: Answer) -> BackendLost:
        return BackendLost(f"the worker answered out of turn in {self.phase}: {answer!r:.100}")

    def _abandon(self, number: int) -> None:
        """Tell the worker to stop; what it still sends for this request will be dropped."""
        try:
            self._channel.send(Cancel(number), 0.5)
        except BackendError:
            self.kill()

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


def _failure(answer: Failed) -> ForgeError:
    kind = getattr(errors, answer.kind, None)
    if not (isinstance(kind, type) and issubclass(kind, ForgeError)):
        kind = BackendError
    return kind(answer.message)


def _environment(spec: BackendSpec, options: WorkerOptions) -> dict[str, str]:
    """The host's environment, without module paths that mean the current folder, and the spec's."""
    env = {**os.environ, **spec.env}
    paths = env.get("PYTHONPATH", "").split(os.pathsep)
    env["PYTHONPATH"] = os.pathsep.join(p for p in paths if os.path.isabs(p))
    threads = options.threads or len(os.sched_getaffinity(0))
    return env | {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}
