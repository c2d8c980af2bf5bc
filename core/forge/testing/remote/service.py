"""The process's side: holds backends and executables by number and calls what it is asked to."""

from __future__ import annotations

import gc
import itertools
import time
import traceback
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np

from forge.backend import Backend, Executable
from forge.conversion import convert
from forge.errors import BackendWrong
from forge.gguf import GGUFFile, open_gguf
from forge.messages import Close, Open
from forge.sampling import SamplingParams
from forge.testing.remote.breaches import Returned, changed, malformed
from forge.testing.remote.messages import (
    CloseBackend,
    CloseExecutable,
    Compiled,
    CompileGraph,
    Convert,
    Converted,
    Decode,
    Decoded,
    Describe,
    Failed,
    Flags,
    Keep,
    Number,
    OpenBackend,
    Opened,
    Outputs,
    Profile,
    Progressed,
    Request,
    Required,
    Run,
    Supports,
    Tensor,
    Timings,
)
from forge.weights import Weights
from forge.worker.link import Link
from forge.worker.loader import open_backend
from forge.worker.watched import WatchedSampler

_LONGEST = 4000


class Cancelled(Exception):
    """Raised out of `progress`, as when a person gives up while a model loads."""


class Service:
    """Owns what was opened and not closed yet."""

    def __init__(self, link: Link[Request]) -> None:
        self._link = link
        self._numbers = itertools.count(1)
        self._backends: dict[int, Backend] = {}
        self._executables: dict[int, Executable] = {}
        self._files: dict[int, GGUFFile] = {}
        self._returned = Returned()

    def serve(self) -> None:
        """Until the test says Close or goes away."""
        while not isinstance(request := self._link.receive(), Close):
            try:
                answer = self._answer(request)
            except Exception as error:  # noqa: BLE001  # whatever a backend raises is the answer
                traceback.print_exc()
                answer = Failed(type(error).__name__, type(error).__module__, str(error)[:_LONGEST])
            self._link.send(answer)

    def _answer(self, request: Request) -> msgspec.Struct:
        match request:
            case OpenBackend():
                return self._open(request)
            case Describe():
                return self._described(request.backend)
            case Supports(backend=number, graph=graph):
                specs = graph.validate()
                return Flags([self._backends[number].supports(n, specs) for n in graph.nodes])
            case Convert(backend=number, graph=graph):
                return Converted(*convert(graph, self._backends[number]))
            case Required(backend=number, graph=graph):
                return Number(self._backends[number].required(graph))
            case CompileGraph():
                return self._compile(request)
            case Run():
                return self._run(request)
            case Keep():
                return Number(
                    self._executables[request.executable].keep(request.slot, request.count)
                )
            case Decode():
                return self._decode(request)
            case Profile(executable=number):
                timed = self._executables[number]
                return Timings(timed.profile(request.tokens, request.repetitions, request.start))
            case CloseExecutable(executable=number):
                self._executables[number].close()
                if file := self._files.pop(number, None):
                    file.close()
            case CloseBackend(backend=number):
                self._backends[number].close()
        gc.collect()
        return Number(0)

    def _open(self, request: OpenBackend) -> Opened:
        backend = open_backend(
            Open(0, request.factory, request.device, request.threads, request.options, True)
        )
        number = next(self._numbers)
        self._backends[number] = backend
        return self._described(number)

    def _described(self, number: int) -> Opened:
        backend = self._backends[number]
        memory = backend.memory()
        return Opened(
            number,
            backend.device,
            list(backend.devices()),
            list(backend.checks()),
            memory.total,
            memory.free,
        )

    def _compile(self, request: CompileGraph) -> Compiled:
        beats = 0

        def progress(phase: str, done: int, total: int, detail: str = "") -> None:
            nonlocal beats
            beats += 1
            self._link.send(Progressed(phase, done, total, detail))
            if beats == request.cancel_after:
                raise Cancelled

        file = open_gguf(request.file)
        given = msgspec.msgpack.encode(request.graph)
        executable = self._backends[request.backend].compile(
            request.graph, Weights(request.graph, file), progress
        )
        if msgspec.msgpack.encode(request.graph) != given:
            raise BackendWrong("compile changed the graph that it was given")
        number = next(self._numbers)
        self._executables[number], self._files[number] = executable, file
        return Compiled(number, executable.chunk)

    def _run(self, request: Run) -> Outputs:
        executable = self._executables[request.executable]
        inputs = {name: tensor.array() for name, tensor in request.inputs.items()}
        positions = np.array(request.positions, np.int32)
        slots = np.array(request.slots, np.int32)
        given = {**inputs, "positions": positions, "slots": slots}
        before = {name: array.copy() for name, array in given.items()}
        out = executable.run(inputs, positions, slots, request.rows)
        if breach := malformed(out, executable.outputs) or changed(before, given):
            return Outputs({}, breach)
        answer = {name: Tensor.of(value) for name, value in out.items()}
        return Outputs(answer, self._returned.breach(request.executable, list(out.values())))

    def _decode(self, request: Decode) -> Decoded:
        executable = self._executables[request.executable]
        tokens, others = self._decoding(executable, request), iter(list[int]())
        if request.beside is not None:
            others = self._decoding(self._executables[request.beside], request)
        taken: list[int] = []
        beside: list[int] = []
        began, first = time.perf_counter(), 0.0
        for token in itertools.islice(tokens, request.take):
            first = first or time.perf_counter() - began
            taken.append(token)
            beside += itertools.islice(others, 1)
        share = first / (time.perf_counter() - began)
        ending = ""
        if request.close_first:
            executable.close()
            ending = _next(tokens)
        close: Any = getattr(tokens, "close", None)
        if close is not None:
            close()
        return Decoded(taken, ending, share, beside)

    def _decoding(self, executable: Executable, request: Decode) -> Iterator[int]:
        sampler = WatchedSampler(SamplingParams.from_dict(request.params), request.history)
        return executable.decode(request.token, request.start, request.count, sampler, request.slot)


def _next(tokens: Any) -> str:
    try:
        next(tokens)
    except StopIteration:
        return "stopped"
    except Exception:  # noqa: BLE001  # any exception is an answer; a crash would be none
        return "raised"
    return "token"
