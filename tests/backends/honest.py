"""Backends that keep to the contract and hold their caller to it, each of another shape.

Each is a `package.module:Class` for --forge-backend, as those of mutants.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from mutants import backend

from forge.backend import (
    Array,
    BackendError,
    Executable,
    Graph,
    Node,
    Op,
    Progress,
    Rows,
    Sampler,
    StateSpec,
    Value,
    Weight,
    WeightSpec,
    attributes,
    row_indices,
)
from forge_cpu.executable import CpuExecutable
from forge_cpu.plain import NumpyBackend


class Strict(CpuExecutable):
    """Refuses a run that the contract does not allow; what is forgotten becomes NaN.

    Its cache is a ring with some slack: far back it has nothing. It decodes four at a time.
    """

    most: ClassVar[int]
    slack: ClassVar[int] = 9
    ahead: ClassVar[int] = 4

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.chunk = self.most
        self._lengths: dict[int, int] = {}

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        count = len(positions)
        _demand(1 <= count <= self.chunk, f"{count} tokens at once")
        for array in (positions, slots, *inputs.values()):
            _demand(len(array) == count, f"{len(array)} of something for {count} tokens")
            _demand(array.flags.c_contiguous, "an array with gaps")
        _demand(positions.dtype == slots.dtype == np.int32, "positions and slots that are not i32")
        chosen = row_indices(rows, count)
        _demand(((chosen >= 0) & (chosen < count)).all(), f"rows {rows} of {count}")
        for state in self.graph.state.values():
            _demand(int(slots.max()) < state.slots, f"slot {slots.max()} of {state.slots}")
            _demand(int(positions.max()) < state.capacity, f"position {positions.max()}")
        if self.graph.state:
            for slot, position in zip(slots.tolist(), positions.tolist(), strict=True):
                expected = self._lengths.get(slot, 0)
                _demand(position == expected, f"position {position} after {expected} in {slot}")
                self._lengths[slot] = position + 1
        return super().run(inputs, positions, slots, rows)

    def keep(self, slot: int, count: int) -> int:
        reach = self._lengths.get(slot, 0)
        kept = min(count, reach) if reach - count <= self.slack else 0
        self._lengths[slot] = kept
        for state in self._state.values():
            state[slot, :, kept:] = np.nan
        return kept

    def decode(
        self, token: int, start: int, count: int, sampler: Sampler, slot: int = 0
    ) -> Iterator[int]:
        following = super().decode(token, start, count, sampler, slot)
        for first in range(0, count, self.ahead):
            for made in [next(following) for _ in range(min(self.ahead, count - first))]:
                _demand(self._weights, "a token of an executable that is closed")
                yield made


def _demand(fine: object, what: str) -> None:
    if not fine:
        raise BackendError(f"the caller broke the contract: {what}")


@backend
class OneAtATime(Strict):
    most = 1


@backend
class ThreeAtATime(Strict):
    most = 3


@backend
class ThousandsAtATime(Strict):
    most = 4096


class LlamaAlone(NumpyBackend):
    """The least there may be: llama in F16, one slot; and it takes its time to load."""

    def supports(self, node: Node, specs: Mapping[str, Value]) -> bool:
        types = {s.dtype for n in node.inputs if isinstance(s := specs[n], WeightSpec)}
        slots = {s.slots for n in node.inputs if isinstance(s := specs[n], StateSpec)}
        attrs = attributes(node)
        match node.op:
            case Op.EMBED | Op.MATMUL:
                return types == {"f16"}
            case Op.RMS_NORM:
                return types == {"f32"}
            case Op.ATTENTION:
                plain = attrs["causal"] and not attrs["window"] and not attrs["softcap"]
                return bool(plain) and not types and slots == {1}
            case Op.ROPE:
                return attrs["style"] == "norm"
            case Op.ADD | Op.SILU_MUL | Op.SELECT_ROWS:
                return not types
            case _:
                return False

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        time.sleep(0.05)
        return CpuExecutable(graph, weights, progress)
