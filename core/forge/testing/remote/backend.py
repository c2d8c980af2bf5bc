"""The test's side: a backend and its executables, every call under a deadline."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from forge import errors
from forge.channel import Channel
from forge.executable import Timing
from forge.graph import Graph
from forge.health import Check, Device
from forge.messages import Close
from forge.paths import python_path
from forge.process import WorkerProcess
from forge.sampling import SamplingParams
from forge.spec import BackendSpec
from forge.testing.remote import messages as m

Array = NDArray[Any]
T = TypeVar("T", bound=msgspec.Struct)

SECONDS = 60.0
"""How long a call may go without a word."""
_LOOK = 0.02


class Worker:
    """A process with the spec's environment, in which backends are opened. Owns it."""

    def __init__(self, spec: BackendSpec, seconds: float = SECONDS) -> None:
        self.spec, self.seconds = spec, seconds
        env = {**os.environ, **spec.env}
        env["PYTHONPATH"] = python_path(env.get("PYTHONPATH", ""))
        command = (sys.executable, "-P", "-m", "forge.testing.remote")
        self._channel: Channel[m.Answer] = Channel(WorkerProcess(command, env), m.Answer, m.LARGEST)

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._channel.usable

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._channel.pid

    def ask(self, request: m.Request, kind: type[T], beats: list[m.Progressed] | None = None) -> T:
        """The answer, or the error that the call raised; a silent process is killed."""
        try:
            self._channel.send(request, self.seconds)
            while isinstance(answer := self._channel.receive(self.seconds), m.Progressed):
                if beats is not None:
                    beats.append(answer)
        except errors.BackendError as error:
            log = self._channel.log_tail()
            self._channel.kill()
            what = f"{error} in {type(request).__name__}"
            raise type(error)(f"{what}\n{log}".rstrip()) from None
        if isinstance(answer, m.Failed):
            raise _raised(answer)
        if not isinstance(answer, kind):
            raise errors.BackendLost(f"{answer!r:.200} is no answer to {type(request).__name__}")
        return answer

    def ends(self) -> tuple[int, int] | None:
        """How it ended when it was asked to (`si_code` and `si_status`); None if it has not."""
        self._channel.send(Close(), self.seconds)
        for _ in range(math.ceil(self.seconds / _LOOK)):
            found = os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is not None:
                return found.si_code, found.si_status
            time.sleep(_LOOK)
        return None

    def close(self) -> None:
        """End the process."""
        self._channel.close()


def _raised(failed: m.Failed) -> Exception:
    kind = getattr(errors, failed.kind, None) if failed.module == "forge.errors" else None
    if isinstance(kind, type) and issubclass(kind, errors.ForgeError):
        return kind(failed.text)
    return ForeignError(f"{failed.kind}: {failed.text}")


class ForeignError(Exception):
    """The backend raised something that is not one of forge's errors."""


class RemoteBackend:
    """A backend that was opened in a worker; the methods are those of `forge.backend.Backend`."""

    def __init__(
        self, worker: Worker, *, device: str | None = None, threads: int | None = None
    ) -> None:
        self.worker = worker
        spec = worker.spec
        request = m.OpenBackend(spec.factory, device, threads, dict(spec.options))
        self._opened = worker.ask(request, m.Opened)
        self.number = self._opened.backend

    @property
    def device(self) -> Device:
        """What answers."""
        return self._opened.device

    @property
    def devices(self) -> Sequence[Device]:
        """What it could open."""
        return self._opened.devices

    @property
    def checks(self) -> Sequence[Check]:
        """What it found out."""
        return self._opened.checks

    def memory(self) -> tuple[int, int]:
        """Total and free bytes now."""
        now = self.worker.ask(m.Describe(self.number), m.Opened)
        return now.total, now.free

    def supports(self, graph: Graph) -> dict[str, bool]:
        """By node."""
        flags = self.worker.ask(m.Supports(self.number, graph), m.Flags).flags
        return dict(zip((node.name for node in graph.nodes), flags, strict=True))

    def converted(self, graph: Graph) -> tuple[Graph, list[str]]:
        """The graph as this backend takes it; BackendUnsupported when it does not in any type."""
        answer = self.worker.ask(m.Convert(self.number, graph), m.Converted)
        return answer.graph, answer.notes

    def required(self, graph: Graph) -> int:
        """Bytes that the graph needs."""
        return self.worker.ask(m.Required(self.number, graph), m.Number).value

    def compile(self, graph: Graph, file: Path, *, cancel_after: int = 0) -> RemoteExecutable:
        """Compile the graph as it is; its beats are the executable's."""
        beats: list[m.Progressed] = []
        request = m.CompileGraph(self.number, graph, str(file), cancel_after)
        made = self.worker.ask(request, m.Compiled, beats)
        return RemoteExecutable(self.worker, graph, made.executable, made.chunk, beats)

    def close(self) -> None:
        """Close it in its process."""
        self.worker.ask(m.CloseBackend(self.number), m.Number)


@dataclass
class RemoteExecutable:
    """An executable in a worker; the methods are those of `forge.backend.Executable`."""

    worker: Worker
    graph: Graph
    number: int
    chunk: int
    beats: list[m.Progressed] = field(default_factory=list)

    def run(
        self,
        inputs: Mapping[str, Any],
        positions: Sequence[int],
        rows: Any = "all",
        slots: Sequence[int] | int = 0,
    ) -> dict[str, Array]:
        """As the contract's run; arrays and lists alike."""
        where = [slots] * len(positions) if isinstance(slots, int) else list(map(int, slots))
        tensors = {name: m.Tensor.of(self._typed(name, value)) for name, value in inputs.items()}
        wanted: Any = rows if isinstance(rows, str) else list(map(int, rows))
        request = m.Run(self.number, tensors, list(map(int, positions)), where, wanted)
        answer = self.worker.ask(request, m.Outputs)
        if answer.breach:
            raise errors.BackendWrong(answer.breach)
        return {name: tensor.array() for name, tensor in answer.values.items()}

    def _typed(self, name: str, value: Any) -> Array:
        dtype = np.int32 if self.graph.inputs[name].dtype == "i32" else np.float32
        return np.ascontiguousarray(value, dtype)

    def keep(self, count: int, slot: int = 0) -> int:
        """How many tokens it could keep."""
        return self.worker.ask(m.Keep(self.number, slot, count), m.Number).value

    def decode(
        self,
        token: int,
        start: int,
        count: int,
        *,
        params: SamplingParams | None = None,
        history: Sequence[int] = (),
        take: int | None = None,
        slot: int = 0,
        close_first: bool = False,
        beside: RemoteExecutable | None = None,
    ) -> m.Decoded:
        """`take` tokens of `count`, all by default, and one more where there must be none.

        `beside` decodes the same, in turns with this one.
        """
        chosen = (params or SamplingParams(temperature=0)).to_dict()
        most = count + 1 if take is None else take
        seen, other = list(history), None if beside is None else beside.number
        request = m.Decode(
            self.number, token, start, count, most, chosen, seen, slot, close_first, other
        )
        return self.worker.ask(request, m.Decoded)

    def profile(self, tokens: int, repetitions: int = 20, start: int = 0) -> list[Timing]:
        """How long each kernel of a run takes."""
        request = m.Profile(self.number, tokens, repetitions, start)
        return self.worker.ask(request, m.Timings).kernels

    def close(self) -> None:
        """Close it in its process."""
        self.worker.ask(m.CloseExecutable(self.number), m.Number)
