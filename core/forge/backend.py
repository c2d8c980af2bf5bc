"""The backend contract: the one module that a backend plugin imports.

    Backend     one device, opened in a worker process of its own
      supports(node, specs)                -> bool
      compile(graph, weights, progress)    -> Executable
    Executable  one compiled graph with its weights and its state
      run(inputs, positions, slots, rows)  -> outputs
      keep(slot, count)                    -> how much of a cached prefix is left
      decode(token, start, count, sampler) -> token ids (optional)

A worker has one thread, and every call comes from it. Whatever takes long calls `progress` after
each piece of finished work: a worker without a beat for its phase's budget (`forge.budgets`) is
killed, so nothing may wait without a time limit of its own. Whatever fails raises

    BackendUnavailable   no driver, no device, or not this one: with advice
    BackendUnsupported   an op, type or size that it lacks, named at compile
    BackendOutOfMemory   no room on the device
    BackendHung          a wait reached its own limit: name the last finished layer
    BackendLost          the device is lost
    BackendWrong         NaN, constant or wrong numbers
    BackendError         anything else, as is every exception that is none of forge's

and the reply goes on with the next backend, which says to the person what this one said.

The module that registers the plugin runs in the host: it imports `hookimpl` and `BackendSpec` from
`forge`, which costs nothing, and leaves this module (and numpy) to the worker.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

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
from forge.executable import Array, Executable, Rows, Timing, row_indices
from forge.graph import (
    SIGNATURES,
    Attr,
    Graph,
    Node,
    Op,
    StateSpec,
    TensorSpec,
    Value,
    WeightSpec,
)
from forge.health import Check, Device
from forge.hookspecs import hookimpl
from forge.sampling import Sampler, SamplingParams
from forge.spec import API_VERSION, BackendConfig, BackendSpec, DriverFault
from forge.steps import Step, steps
from forge.weights import Weight

__all__ = [
    "API_VERSION",
    "Array",
    "Attr",
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
    "DriverFault",
    "Executable",
    "Graph",
    "Memory",
    "Node",
    "Op",
    "Phase",
    "Progress",
    "Rows",
    "Sampler",
    "SamplingParams",
    "StateSpec",
    "Step",
    "TensorSpec",
    "Timing",
    "Value",
    "Weight",
    "WeightSpec",
    "attributes",
    "hookimpl",
    "reference",
    "row_indices",
    "steps",
]

Phase: TypeAlias = Literal["load", "compile"]


class Progress(Protocol):
    """Told after each piece of finished work: a tensor uploaded, a kernel compiled. A beat."""

    def __call__(self, phase: Phase, done: int, total: int, detail: str = "") -> None:
        """`done` of `total` pieces are finished; `detail` names the last one.

        The phases may come in any order and take turns; a large tensor may be several pieces.
        """


@dataclass(frozen=True, slots=True)
class Memory:
    """The device's memory in bytes: all of it, and what a model may take; 0 where nobody tells."""

    total: int
    free: int


class Backend(ABC):
    """One device. The constructor opens it, or raises BackendUnavailable with advice.

    `compile` is called several times: graphs with a right answer that is known, of one node each,
    and at last the model in small, follow the model and live beside it. The small one stays, and
    runs between the model's runs and the tokens of its `decode`. Executables of one backend do not
    disturb each other.
    """

    def __init__(self, config: BackendConfig) -> None:
        """Open the device that `config.device` names, or the best one where it is None.

        One that is not there raises BackendUnavailable, which lists the ids of `devices()`.
        """
        self.config = config

    @property
    @abstractmethod
    def device(self) -> Device:
        """What answers: the device that is open."""

    def devices(self) -> list[Device]:
        """All that it could open here, for `forge backends`; looks without opening the others."""
        return [self.device]

    @abstractmethod
    def supports(self, node: Node, specs: Mapping[str, Value]) -> bool:
        """Whether this backend computes the node; `specs` has every value of its graph by name.

        A no to a weight's type makes forge ask again with the weight converted to F16 or F32. The
        node's attributes with their defaults: `attributes(node)`.
        """

    @abstractmethod
    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        """Load the weights and make the graph ready to run.

        Weights may be parts of one tensor, or one tensor under two names: the graph's
        `distinct_weights()` has each once. `weight.raw()` is a view of the mapped file, and
        `weight.release()` gives its pages back when the device has a copy. Numbers that a
        conversion cannot hold raise BackendUnsupported out of `raw` and `dense`: let it pass.

        `progress` gets at least one "load" for each matrix of the file, `done` counting up to
        `total`. An exception out of it (the person gave up) passes through, as any other does:
        what was taken is given back, and the backend stays usable.
        """

    def required(self, graph: Graph) -> int:
        """Bytes that the graph needs on the device: weights, state and activations.

        Compared with `memory().free` before anything is loaded, to choose the context or to say no.
        """
        return sum(w.bytes for w in graph.distinct_weights()) + graph.state_bytes()

    def memory(self) -> Memory:
        """The device's memory now; zeros, the default, mean that nobody tells."""
        return Memory(0, 0)

    def warm(self, graph: Graph | None, progress: Progress) -> str:
        """Prepare ahead, and keep on disk, what `compile` needs for the graph, but for its weights.

        None is for whatever graph may come. Returns the folder where it is kept; "", the default,
        where there is nothing to prepare. `progress` gets a "compile" for each piece that was
        missing.
        """
        del graph, progress
        return ""

    def checks(self) -> list[Check]:
        """What the backend found out about its driver and its devices, for `forge backends`.

        Asked again when a model is loaded: what is not well then is told to the person.
        """
        return []

    def close(self) -> None:
        """Give the device back; called once more does nothing."""
        return


def attributes(node: Node) -> dict[str, Attr]:
    """The node's attributes, with the defaults of those that it does not name."""
    return {**SIGNATURES[node.op].defaults, **node.attrs}
