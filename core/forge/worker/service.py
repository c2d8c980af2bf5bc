"""Answers the host's requests, one at a time, and turns every failure into words."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import cast, get_args

import numpy as np

from forge import errors
from forge.backend import Backend, Timing
from forge.events import FinishReason
from forge.gguf import GGUFFile, open_gguf
from forge.messages import (
    Beat,
    Block,
    Close,
    Evaluate,
    Failed,
    Finished,
    Generate,
    Load,
    Loaded,
    Open,
    Opened,
    Phase,
    Probe,
    Probed,
    Profile,
    Profiled,
    Request,
    Started,
    Tokens,
    Warm,
    Warmed,
)
from forge.sampling import SamplingParams
from forge.worker.link import HostGone, Link
from forge.worker.loader import load_model, open_backend, probe, warm_up
from forge.worker.model import LoadedModel
from forge.worker.profiling import kernel_times, rounds
from forge.worker.watched import WatchedSampler

_LONGEST = 4000
"""Characters of a text from a backend: its message must fit in a frame."""


class Service:
    """Owns the backend, the mapped file and the loaded model."""

    def __init__(self, link: Link[Request], board: int) -> None:
        self._link, self._board = link, board
        self._backend: Backend | None = None
        self._file: GGUFFile | None = None
        self._model: LoadedModel | None = None

    def serve(self) -> None:
        """Until the host says Close or goes away."""
        while not isinstance(request := self._link.receive(), Close):
            try:
                self._answer(request)
            except HostGone:
                raise
            except MemoryError:
                self._fail(request, errors.BackendOutOfMemory("the worker is out of memory"))
            except errors.ForgeError as error:
                self._fail(request, error)
            except Exception as error:  # noqa: BLE001  # a backend's bug must reach the host as words
                with suppress(OSError):  # whoever printed too much has no room left
                    traceback.print_exc()
                self._fail(request, errors.BackendError(f"{type(error).__name__}: {error}"))
        self._close()

    def _answer(self, request: Request) -> None:
        match request:
            case Open():
                self._backend = open_backend(request)
                device = self._backend.device
                checks = self._backend.checks()
                devices = self._backend.devices()
                self._link.send(Opened(request.id, device, checks, devices))
            case Load():
                self._load(request)
            case Probe():
                self._probe(request)
            case Warm():
                self._warm(request)
            case Generate():
                self._generate(request)
            case Evaluate():
                self._evaluate(request)
            case Profile():
                self._profile(request)
            case _:  # a Cancel or Next of a request that has ended already
                pass

    def _fail(self, request: Request, error: errors.ForgeError) -> None:
        """Say it first: cleaning up after a device that failed may fail or hang as well."""
        number = 0 if isinstance(request, Close) else request.id
        self._link.send(Failed(number, type(error).__name__, _text(str(error))))
        if self._model and isinstance(error, errors.BackendError):
            self._model.forget()  # a failed run may have left half a layer behind

    def _load(self, request: Load) -> None:
        backend = self._opened()
        self._file = open_gguf(os.fsdecode(request.model))
        model = load_model(backend, self._file, request, self._beats(request.id))
        self._model = model
        memory, state = backend.memory(), model.executable.graph.state_bytes()
        total, free = max(0, int(memory.total)), max(0, int(memory.free))
        self._link.send(
            Loaded(request.id, model.context, model.vocabulary, model.notes, state, total, free)
        )

    def _probe(self, request: Probe) -> None:
        backend, beats = self._opened(), self._beats(request.id)
        with open_gguf(os.fsdecode(request.model)) as file:
            error = probe(backend, file, request.kv_type, beats)
        self._link.send(Probed(request.id, error))

    def _warm(self, request: Warm) -> None:
        backend, beat = self._opened(), self._beats(request.id)
        if request.model is None:
            folder = backend.warm(None, beat)
        else:
            with open_gguf(os.fsdecode(request.model)) as file:
                folder = warm_up(backend, file, request.kv_type, beat)
        self._link.send(Warmed(request.id, _text(folder)))

    def _opened(self) -> Backend:
        if self._backend is None:
            raise errors.BackendError("no backend is open")
        return self._backend

    def _beats(self, number: int) -> Callable[..., None]:
        """Passes on what is finished of a request."""

        def beat(phase: str, done: int, total: int, detail: str = "") -> None:
            self._link.send(Beat(number, _known(phase), done, total, _text(detail)))

        return beat

    def _ready(self, tokens: list[int], *, reply: int) -> LoadedModel:
        if self._model is None:
            raise errors.BackendError("no model is loaded")
        self._model.check_room(tokens, reply=reply)
        return self._model

    def _generate(self, request: Generate) -> None:
        model = self._ready(request.tokens, reply=1)
        sampler = WatchedSampler(SamplingParams.from_dict(request.params), request.tokens)
        if not request.reuse:
            model.forget()
        self._link.send(Started(request.id, model.reuse(request.tokens)))
        total = len(request.tokens)
        reply = model.generate(
            request.tokens,
            request.count,
            request.stops,
            sampler,
            lambda done: self._beat_or_stop(request.id, done, total),
        )
        reason: FinishReason = "length"
        try:
            with closing(reply):  # what the device has in flight ends before the request does
                for token in reply:
                    if isinstance(token, str):
                        reason = token
                        break
                    self._link.send(Tokens(request.id, [token]))
                    self._stop_if_cancelled(request.id)
        except _Cancelled:
            reason = "cancelled"
        self._link.send(Finished(request.id, reason))

    def _beat_or_stop(self, number: int, done: int, total: int) -> None:
        self._link.send(Beat(number, "prefill", done, total))
        self._stop_if_cancelled(number)

    def _stop_if_cancelled(self, number: int) -> None:
        if self._link.cancelled(number):
            raise _Cancelled

    def _evaluate(self, request: Evaluate) -> None:
        model = self._ready(request.tokens, reply=0)
        model.forget()
        os.ftruncate(self._board, 0)  # a block that nobody read may be left
        start = 0
        for end, logits in model.prefill(request.tokens, "all"):
            rows = np.ascontiguousarray(logits, np.float32)
            for offset, piece in _pieces(rows):
                os.pwrite(self._board, piece, offset)
            self._link.send(Block(request.id, start, end - start))
            if not self._link.next_block(request.id):
                self._link.send(Finished(request.id, "cancelled"))
                return
            start = end
        if model.standing:
            model.standing.now()
        self._link.send(Finished(request.id, "stop"))

    def _profile(self, request: Profile) -> None:
        model, beat = self._ready([], reply=0), self._beats(request.id)
        tokens = min(request.tokens, model.executable.chunk)
        model.check_room([0] * (request.start + tokens), reply=0)
        model.forget()
        measured: list[list[Timing]] = []
        try:
            for done, timings in rounds(
                model.executable, tokens, request.start, request.repetitions
            ):
                measured.append(timings)
                beat("profile", done, request.repetitions)
                self._stop_if_cancelled(request.id)
        except _Cancelled:
            self._link.send(Finished(request.id, "cancelled"))
            return
        finally:
            model.forget()
        kernels = kernel_times(model.executable.graph, tokens, measured)
        self._link.send(Profiled(request.id, tokens, kernels))

    def _close(self) -> None:
        """In reverse order of opening."""
        if self._model:
            if self._model.standing:
                self._model.standing.close()
            self._model.executable.close()
        if self._backend:
            self._backend.close()
        if self._file:
            self._file.close()


def _known(phase: str) -> Phase:
    if phase in get_args(Phase):
        return cast("Phase", phase)
    raise errors.BackendError(f"progress in the phase {phase!r}: there are {get_args(Phase)}")


def _text(text: str) -> str:
    """Fit for a message: a path may hold bytes that are no UTF-8."""
    return text[:_LONGEST].encode("utf-8", "backslashreplace").decode()


class _Cancelled(Exception):
    """The host gave the request up."""


def _pieces(rows: np.ndarray) -> Iterator[tuple[int, memoryview]]:
    """Bytes of an array in parts that one write takes."""
    data, step = memoryview(rows.data).cast("B"), 1 << 24
    for offset in range(0, len(data), step):
        yield offset, data[offset : offset + step]
