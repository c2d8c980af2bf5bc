"""The backend contract: the one module that a backend plugin imports.

    Backend     one device, opened in a worker process of its own
      supports(node, specs)                -> bool
      compile(graph, weights, progress)    -> Executable
    Executable  one compiled graph with its weights and its state
      run(inputs, positions, slots, rows)  -> outputs
      keep(slot, count)                    -> how much of a cached prefix is left
      decode(token, start, count, sampler) -> token ids (optional)

A worker has one thread, and every call comes from it. Whatever fails raises an error of
`forge.errors`; whatever takes long calls `progress` after each piece of finished work.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from forge import reference
from forge.errors import (
    BackendError,
    BackendHung,
    BackendLost,
    BackendOutOfMemory,
    BackendUnavailable,
    BackendUnsupported,
    BackendWrong,
)
from forge.graph import Graph, Node, Op, StateSpec, TensorSpec, Value, WeightSpec
from forge.health import Check, Health
from forge.hookspecs import hookimpl
from forge.spec import API_VERSION, BackendConfig, BackendSpec
from forge.weights import Weight

if TYPE_CHECKING:
    from forge.sampling import Sampler

__all__ = [
    "API_VERSION",
    "Array",
    "Backend",
    "BackendConfig",
    "BackendError",
    "BackendHung",
    "BackendLost",
    "BackendOutOfMemory",
    "BackendSpec",
    "BackendUnavailable",
    "BackendUnsupported",
    "BackendWrong",
    "Check",
    "Device",
    "Executable",
    "Graph",
    "Health",
    "Memory",
    "Node",
    "Op",
    "Phase",
    "Progress",
    "Rows",
    "StateSpec",
    "TensorSpec",
    "Value",
    "Weight",
    "WeightSpec",
    "hookimpl",
    "reference",
    "row_indices",
]

Array: TypeAlias = NDArray[Any]
Phase: TypeAlias = Literal["load", "compile"]
Rows: TypeAlias = Literal["none", "last", "all"] | Sequence[int]


class Progress(Protocol):
    """Told after each piece of finished work: a tensor uploaded, a kernel compiled. A beat."""

    def __call__(self, phase: Phase, done: int, total: int, detail: str = "") -> None:
        """`done` of `total` pieces are finished; `detail` names the last one."""


@dataclass(frozen=True, slots=True)
class Device:
    """What answers: a name for people, and its kind: cpu, integrated, discrete or software."""

    name: str
    kind: str = "cpu"


@dataclass(frozen=True, slots=True)
class Memory:
    """The device's memory in bytes; 0 where it does not tell."""

    total: int
    free: int


class Executable(ABC):
    """A compiled graph with its weights on the device and its state (the KV cache)."""

    chunk: int = 512
    """The most tokens that one run takes; a longer prompt comes in several."""

    @abstractmethod
    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        """Compute T tokens (T ≤ chunk) and append them to the state.

        inputs: the graph's tokens i32 [T] or hidden state f32 [T, n], by name.
        positions, slots: i32 [T]; a token's place in its sequence, and its sequence.
        rows: which of the T rows of the outputs are wanted; "none" returns [0, n].
        Returns the outputs f32 [R, n] by name, owned by the caller.
        """

    def keep(self, slot: int, count: int) -> int:
        """Forget all of a slot's state but the first `count` tokens; how many could be kept.

        A sliding window's ring or a recurrent state may keep fewer, down to 0.
        """
        del slot
        return count

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        """Feed `token` at position `start`, yield the next one, feed it, … `count` times.

        Override it to sample on the device, to replay a recorded step, or to submit several tokens
        at once. A caller may stop at any point: state past what it took is undone by `keep`.
        """
        (output,) = self.outputs
        (name,) = self.inputs
        where = np.array([slot], np.int32)
        for position in range(start, start + count):
            step = self.run(
                {name: np.array([token], np.int32)}, np.array([position], np.int32), where, "last"
            )
            token = sampler.sample(step[output][0], position + 1)
            sampler.accept(token)
            yield token

    @property
    @abstractmethod
    def graph(self) -> Graph:
        """The graph it was compiled from."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The graph's inputs that `run` takes in its mapping."""
        bound = ("positions", "slots", "rows")
        return tuple(name for name in self.graph.inputs if name not in bound)

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of what `run` returns."""
        return self.graph.outputs

    def close(self) -> None:
        """Give back what the device holds; called once more does nothing."""
        return


class Backend(ABC):
    """One device. The constructor opens it, or raises BackendUnavailable with advice."""

    def __init__(self, config: BackendConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def device(self) -> Device:
        """What answers."""

    @abstractmethod
    def supports(self, node: Node, specs: Mapping[str, Value]) -> bool:
        """Whether this backend computes the node; `specs` has every value of its graph by name.

        A no to a weight's type makes forge ask again with the weight converted to F16 or F32.
        """

    @abstractmethod
    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        """Load the weights and make the graph ready to run."""

    def required(self, graph: Graph) -> int:
        """Bytes that the graph needs on the device: weights, state and activations."""
        return sum(w.bytes for w in graph.distinct_weights()) + graph.state_bytes()

    def memory(self) -> Memory:
        """The device's memory."""
        return Memory(0, 0)

    def checks(self) -> list[Check]:
        """What the backend found out about its driver and device."""
        return []

    def close(self) -> None:
        """Give the device back; called once more does nothing."""
        return


def row_indices(rows: Rows, tokens: int) -> Array:
    """The indices that `rows` means for a run of `tokens` tokens, as i32."""
    if isinstance(rows, str):
        start = {"none": tokens, "last": tokens - 1, "all": 0}[rows]
        return np.arange(start, tokens, dtype=np.int32)
    return np.asarray(rows, np.int32)
