"""What host and worker say to each other; msgspec checks every field as it decodes.

Every request has a number and every answer repeats it, so that answers to an abandoned request can
be told apart and dropped.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import msgspec

from forge.events import FinishReason
from forge.health import Check, Device
from forge.profile import KernelTime

BLOCK_BYTES = 64 << 20
"""The most that a block of logits takes of the shared file, unless one row is larger."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Bytes: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Phase: TypeAlias = Literal["load", "compile", "check", "prefill", "profile"]


class _Message(msgspec.Struct, frozen=True, tag=True, array_like=True, forbid_unknown_fields=True):
    """A compact tagged array on the wire."""


class Open(_Message, frozen=True):
    """Import the factory and open its device."""

    id: int
    factory: str
    device: str | None
    threads: int | None
    options: dict[str, str]
    asked: bool = False
    frugal: bool = False


class Load(_Message, frozen=True):
    """Map the model's file, build its graph, compile it and check known answers.

    The path is bytes: file names need not be UTF-8. `kv_type` is the KV cache's; None is the
    worker's choice. `least` is 0, or, after the device ran out of memory, how many tokens have to
    fit: the worker takes as little memory as it can, and says so.
    """

    id: int
    model: bytes
    context: int | None
    kv_type: str | None = None
    least: int = 0


class Probe(_Message, frozen=True):
    """Check known answers of the model's plan, without loading its weights."""

    id: int
    model: bytes
    kv_type: str | None = None


class Warm(_Message, frozen=True):
    """Prepare ahead what loading the model would compile; without one, what any would."""

    id: int
    model: bytes | None
    kv_type: str | None = None


class Generate(_Message, frozen=True):
    """Continue `tokens` by at most `count`, until one of `stops`; `params` are SamplingParams.

    Without `reuse` the cached prefix is forgotten first.
    """

    id: int
    tokens: list[int]
    count: int
    stops: list[int]
    params: dict[str, object]
    reuse: bool = True


class Evaluate(_Message, frozen=True):
    """The logits of every position of `tokens`, block by block through the shared file."""

    id: int
    tokens: list[int]


class Profile(_Message, frozen=True):
    """Time the kernels of runs of `tokens` tokens, or a chunk if that is fewer, from `start`."""

    id: int
    tokens: int
    start: int
    repetitions: int


class Next(_Message, frozen=True):
    """The last block was read: the shared file may be written again."""

    id: int


class Cancel(_Message, frozen=True):
    """Stop request `id` at the next token or chunk."""

    id: int


class Close(_Message, frozen=True):
    """Give the device back and end."""


class Hello(_Message, frozen=True):
    """The worker runs."""

    pid: int


class Opened(_Message, frozen=True):
    """The device is open; `checks` are what the backend found out, `devices` what it could open."""

    id: Count
    device: Device
    checks: list[Check] = []
    devices: list[Device] = []


class Beat(_Message, frozen=True):
    """A piece of work is finished; with `done` 0, a phase begins."""

    id: Count
    phase: Phase
    done: Count
    total: Count
    detail: str = ""


class Loaded(_Message, frozen=True):
    """The model is ready; `notes` are worth telling the person.

    state: what keys and values take. total, free: the device's memory now, 0 where nobody tells.
    """

    id: Count
    context: Count
    vocabulary: Annotated[int, msgspec.Meta(ge=1, le=BLOCK_BYTES // 4)]
    notes: list[str]
    state: Bytes = 0
    total: Bytes = 0
    free: Bytes = 0


class Probed(_Message, frozen=True):
    """Every known answer came out right; the worst error was that."""

    id: Count
    error: float


class Warmed(_Message, frozen=True):
    """It is prepared, and kept in a folder; in none, where there was nothing to prepare."""

    id: Count
    folder: str


class Profiled(_Message, frozen=True):
    """How long each kernel of a run of `tokens` tokens took."""

    id: Count
    tokens: Count
    kernels: list[KernelTime]


class Started(_Message, frozen=True):
    """Generation begins with `kept` tokens of the prompt already in the cache."""

    id: Count
    kept: Count


class Tokens(_Message, frozen=True):
    """The reply's next tokens."""

    id: Count
    ids: Annotated[list[Count], msgspec.Meta(min_length=1)]


class Block(_Message, frozen=True):
    """Rows start..start + count of the logits, f32 [count, vocabulary], lie in the shared file."""

    id: Count
    start: Count
    count: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class Finished(_Message, frozen=True):
    """The request is complete."""

    id: Count
    reason: FinishReason


class Failed(_Message, frozen=True):
    """The request, or (with id 0) the worker, failed; `kind` names a class of `forge.errors`."""

    id: Count
    kind: str
    message: str


Request: TypeAlias = (
    Open | Load | Probe | Warm | Generate | Evaluate | Profile | Next | Cancel | Close
)
Answer: TypeAlias = (
    Hello
    | Opened
    | Beat
    | Loaded
    | Probed
    | Warmed
    | Profiled
    | Started
    | Tokens
    | Block
    | Finished
    | Failed
)
