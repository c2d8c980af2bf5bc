"""What a test and the process with the backend say to each other: one answer to every request."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from forge.executable import Timing
from forge.graph import Graph
from forge.health import Check, Device
from forge.messages import Close

LARGEST = 256 << 20
"""Bytes of an answer: all rows of the largest case."""


class _Message(msgspec.Struct, frozen=True, tag=True, array_like=True, forbid_unknown_fields=True):
    pass


class Tensor(msgspec.Struct, frozen=True):
    """An array: numpy's name of its type, its shape, its bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes

    @classmethod
    def of(cls, array: NDArray[Any]) -> Tensor:
        """A copy of an array's numbers."""
        return cls(array.dtype.str, array.shape, array.tobytes())

    def array(self) -> NDArray[Any]:
        """The numbers again, writable."""
        return np.frombuffer(bytearray(self.data), self.dtype).reshape(self.shape)


class OpenBackend(_Message, frozen=True):
    """Call the factory; answered by Opened."""

    factory: str
    device: str | None
    threads: int | None
    options: dict[str, str]


class Supports(_Message, frozen=True):
    """Ask about every node; answered by Flags."""

    backend: int
    graph: Graph


class Convert(_Message, frozen=True):
    """Convert weights of types that the backend lacks; answered by Converted."""

    backend: int
    graph: Graph


class Required(_Message, frozen=True):
    """Bytes that the graph needs; answered by Number."""

    backend: int
    graph: Graph


class CompileGraph(_Message, frozen=True):
    """Compile with the weights of `file`; Progressed, Progressed, …, Compiled.

    `cancel_after` is the number of beats after which `progress` raises, as when a person cancels.
    """

    backend: int
    graph: Graph
    file: str
    cancel_after: int = 0


class Run(_Message, frozen=True):
    """Run an executable; answered by Outputs."""

    executable: int
    inputs: dict[str, Tensor]
    positions: list[int]
    slots: list[int]
    rows: list[int] | Literal["none", "last", "all"]


class Keep(_Message, frozen=True):
    """Forget a slot's state but the first `count` tokens; answered by Number."""

    executable: int
    slot: int
    count: int


class Decode(_Message, frozen=True):
    """Take `take` of `count` tokens and leave the generator; answered by Decoded.

    With `close_first` the executable is closed while the generator waits, which is then asked for
    one more token. With `beside`, another executable, that one decodes the same in turns with it.
    """

    executable: int
    token: int
    start: int
    count: int
    take: int
    params: dict[str, Any]
    history: list[int]
    slot: int = 0
    close_first: bool = False
    beside: int | None = None


class Profile(_Message, frozen=True):
    """Time the kernels of a run; answered by Timings."""

    executable: int
    tokens: int
    repetitions: int
    start: int


class CloseExecutable(_Message, frozen=True):
    """Close it; answered by Number."""

    executable: int


class CloseBackend(_Message, frozen=True):
    """Close it; answered by Number."""

    backend: int


class Describe(_Message, frozen=True):
    """Answered by Opened with what the backend says now."""

    backend: int


class Opened(_Message, frozen=True):
    """An open backend, and what it says of itself."""

    backend: int
    device: Device
    devices: list[Device]
    checks: list[Check]
    total: int
    free: int


class Flags(_Message, frozen=True):
    """Whether each node is supported."""

    flags: list[bool]


class Converted(_Message, frozen=True):
    """The graph as the backend takes it, and what was changed, in words."""

    graph: Graph
    notes: list[str]


class Number(_Message, frozen=True):
    """A number, or 0 for "done"."""

    value: int


class Progressed(_Message, frozen=True):
    """The backend called `progress`."""

    phase: str
    done: int
    total: int
    detail: str


class Compiled(_Message, frozen=True):
    """An executable; `chunk` is the most tokens of one run."""

    executable: int
    chunk: int


class Outputs(_Message, frozen=True):
    """What a run returned; `breach` says what it did with the arrays of the run before."""

    values: dict[str, Tensor]
    breach: str = ""


class Decoded(_Message, frozen=True):
    """The tokens; `ending` is what happened after `close_first`: "stopped", "raised" or "token".

    share: the part of the time for all of them that passed until the first.
    beside: the other executable's tokens.
    """

    tokens: list[int]
    ending: str = ""
    share: float = 0.0
    beside: list[int] = []


class Timings(_Message, frozen=True):
    """How long each kernel took."""

    kernels: list[Timing]


class Failed(_Message, frozen=True):
    """The call raised: the exception's class, its module, and its text."""

    kind: str
    module: str
    text: str


Request: TypeAlias = (
    OpenBackend
    | Supports
    | Convert
    | Required
    | CompileGraph
    | Run
    | Keep
    | Decode
    | Profile
    | CloseExecutable
    | CloseBackend
    | Describe
    | Close
)
Answer: TypeAlias = (
    Opened
    | Flags
    | Converted
    | Number
    | Progressed
    | Compiled
    | Outputs
    | Decoded
    | Timings
    | Failed
)
