"""The host's handle on one worker: one backend that holds one model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from forge import answers
from forge.budgets import Budgets
from forge.channel import Channel
from forge.dialogue import LOAD, OPEN, Dialogue
from forge.errors import BackendUnavailable
from forge.events import Event, FinishReason, Loading, Prefill, Ready, Token
from forge.health import Check, Device, Watch, presentable
from forge.messages import (
    Answer,
    Beat,
    Generate,
    Hello,
    Load,
    Loaded,
    Open,
    Opened,
    Probe,
    Probed,
)
from forge.pace import Pace
from forge.paces import Paces
from forge.process import Testimony
from forge.profile import RunProfile
from forge.sampling import SamplingParams
from forge.spec import BackendSpec
from forge.worker_options import WorkerOptions


class Runner:
    """Starts the worker and asks for the model at once; `ready` waits for it."""

    def __init__(
        self,
        spec: BackendSpec,
        options: WorkerOptions,
        *,
        paces: Callable[[str], Paces] = lambda _: Paces(),
        least: int = 0,
        probe: bool = False,
    ) -> None:
        self.spec = spec
        self.probing = probe
        self.ready_info: Ready | None = None
        self.vocabulary = 0
        self.pace = Pace()
        self.device: Device | None = None
        self.checks: tuple[Check, ...] = ()
        self.devices: tuple[Device, ...] = ()
        self.worst = 0.0
        self.started = time.monotonic()
        self._paces = paces
        self._budgets = Budgets(options.patience, options.seconds, options.weights)
        self._budgets.paces = paces("")
        worker = options.ahead.take(options.command, options.environment(spec), options.process)
        self._channel: Channel[Answer] = Channel(worker)
        self._dialogue = Dialogue(self._channel, self._budgets)
        try:
            asked, chosen = spec.name == options.asked, options.device_of(spec)
            self._dialogue.send(
                Open(
                    *(OPEN, spec.factory, chosen, options.threads, dict(spec.options), asked),
                    frugal=least > 0,
                )
            )
            if options.model is not None:
                model = os.fsencode(options.model)
                self._load = Load(LOAD, model, options.context, options.kv_type, least)
                first = Probe(LOAD, model, options.kv_type) if probe else self._load
                self._dialogue.send(first)
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
        return Watch(self.spec.name, self.phase, self.silent_s, self._budgets.seconds())

    @property
    def budget_s(self) -> float:
        """Seconds that the worker has for its next piece of work."""
        return self._budgets.seconds()

    @property
    def silent_s(self) -> float:
        """Seconds since the worker last said something, or was asked to work."""
        return time.monotonic() - self._dialogue.heard

    def rests(self, seconds: float = 0.25) -> bool:
        """Whether it has finished all that it was asked; one told to stop has a moment to do so."""
        if not self._channel.usable:
            return True
        return self.ready_info is not None and self._dialogue.rests(seconds)

    def gather(self) -> None:
        """Take what it says while nobody waits for it: one that is not heard stops in its load."""
        self._channel.gather()

    def hangs(self) -> bool:
        """Whether it was told to stop, and has been silent for longer than it may be since."""
        return (
            self.ready_info is not None and not self.rests(0.05) and self.silent_s > self.budget_s
        )

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
                    self._open(answer)
                    self._budgets.enter("load")
                    yield Loading(self.spec.name, "load", detail=self.sound.name)
                case Beat(id=2, phase="load" | "compile" | "check") if self.device is not None:
                    yield self._piece(answer)
                case Loaded(id=2) if self.device is not None:
                    seconds, name = time.monotonic() - self.started, self.device.name
                    self.vocabulary = answer.vocabulary
                    self.ready_info = Ready(
                        *(self.spec.name, name, answer.context, seconds, tuple(answer.notes)),
                        *(answer.state, answer.total, answer.free),
                    )
                    yield self.ready_info
                case _:
                    raise self._dialogue.nonsense(answer)
        return True

    def opened(self) -> None:
        """Without a model: wait for the device alone."""
        while self.device is None:
            match answer := self._dialogue.receive(lambda: False):
                case Hello() if self.phase == "start":
                    self._budgets.enter("open")
                case Opened(id=1) if self.phase == "open":
                    self._open(answer)
                case _:
                    raise self._dialogue.nonsense(answer)

    @property
    def sound(self) -> Device:
        """The device that is open; BackendError where none is."""
        if self.device is None:
            raise BackendUnavailable("no device is open")
        return self.device

    def probe(self, interrupted: Callable[[], bool]) -> Generator[Event, None, bool]:
        """Wait until known answers came out right, then ask for the model; False: interrupted."""
        right = yield from self.known_answers(interrupted)
        if right:
            self.load()
        return right

    def load(self) -> None:
        """After known answers: ask for the model as well."""
        self._dialogue.send(self._load)
        self._budgets.enter("load")

    def known_answers(self, interrupted: Callable[[], bool]) -> Generator[Loading, None, bool]:
        """Wait until known answers came out right, no more; False: interrupted."""
        while self.probing:
            match answer := self._dialogue.receive(interrupted):
                case None:
                    return False
                case Hello() if self.phase == "start":
                    self._budgets.enter("open")
                    yield Loading(self.spec.name, "open")
                case Opened(id=1) if self.phase == "open":
                    self._open(answer)
                    self._budgets.enter("compile")
                    yield Loading(self.spec.name, "compile", detail=self.sound.name)
                case Beat(id=2, phase="load" | "compile" | "check") if self.device is not None:
                    yield self._piece(answer)
                case Probed(id=2) if self.device is not None:
                    self.probing, self.worst = False, answer.error
                case _:
                    raise self._dialogue.nonsense(answer)
        return True

    def ask(self, model: str) -> None:
        """After known answers: ask for those of another model."""
        self._dialogue.send(Probe(LOAD, os.fsencode(model), self._load.kv_type))
        self._budgets.enter("compile")
        self.probing = True

    def _open(self, answer: Opened) -> None:
        self.device = presentable(answer.device, self.spec.name)
        self.checks, self.devices = (
            tuple(answer.checks),
            tuple(presentable(device, self.spec.name) for device in answer.devices),
        )
        self._budgets.paces = self._paces(answer.device.key)

    def _piece(self, answer: Beat) -> Loading:
        self._budgets.beat(answer.phase, answer.done, answer.total)
        return Loading(self.spec.name, answer.phase, answer.done, answer.total, answer.detail)

    def warm(self, model: Path | None, kv_type: str | None) -> Generator[Loading, None, str]:
        """Have the backend prepare for a model, or for any; the folder where it keeps that."""
        return answers.warmed(self._dialogue, self.spec.name, model, kv_type)

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
        self.pace = Pace()
        request = Generate(0, list(tokens), count, list(stops), params.to_dict(), reuse)
        return answers.reply(
            self._dialogue, self._channel, request, self.pace, self.vocabulary, interrupted
        )

    def logits(self, tokens: Sequence[int]) -> Generator[NDArray[np.float32], None, None]:
        """The logits after each token, in blocks f32 [n, vocabulary]."""
        return answers.blocks(self._dialogue, self._channel, tokens, self.vocabulary)

    def profile(
        self, tokens: int, start: int, repetitions: int
    ) -> Generator[Loading, None, RunProfile]:
        """How long each kernel of a run takes on the device."""
        return answers.profiled(self._dialogue, self.spec.name, tokens, start, repetitions)

    def last_piece(self) -> str:
        """The last piece of work that the worker named, for people."""
        last = self._dialogue.last
        if last is None:
            return ""
        part = f"{last.phase} {last.done} of {last.total}"
        return f"{part}: {last.detail}" if last.detail else part

    @property
    def struck(self) -> bool:
        """Whether somebody else ended the worker, before `kill` did."""
        return self._channel.struck

    def testimony(self) -> Testimony:
        """What can be known of a worker that is silent; takes a twentieth of a second."""
        return self._channel.testimony()

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
