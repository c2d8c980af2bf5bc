"""What a graph takes on a device: chosen and counted before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from forge.backend import Graph, Op
from forge_gpu.kernels import Kernels
from forge_gpu.kv import state_bytes
from forge_gpu.memory import ALIGNMENT
from forge_gpu.placing import Placement, expert_pairs, matrices_of, place
from forge_gpu.plan import Plan
from forge_gpu.sections import waiting
from forge_gpu.steps.experts import experts_bytes
from forge_gpu.tape import FIELDS
from forge_gpu.values import places, room

HEAD_ROWS = 32
"""Rows of logits computed at one time."""
_CHUNK_WORK = {"discrete": 8e12, "integrated": 4e11, "software": 4e9}
"""Multiply-adds of one prefill chunk: a second or less, as each is a beat."""
_LARGEST = 512
_FRUGAL = 64
_SLACK = 1 << 20
"""Tables, frames and gaps between regions."""


@dataclass(frozen=True)
class Sizes:
    """Of a graph on the device that `kernels` are for."""

    graph: Graph
    kernels: Kernels
    frugal: bool = False

    @cached_property
    def plan(self) -> Plan:
        """The graph's steps."""
        return Plan(self.graph)

    @cached_property
    def placement(self) -> Placement:
        """Where the weights go."""
        gpu = self.kernels.gpu
        return place(
            self.graph.weights,
            matrices_of(self.graph),
            binding=gpu.features.storage_bytes,
            allocation=gpu.allocation_bytes,
            together=[*self.plan.pairs, *expert_pairs(self.graph)],
        )

    @cached_property
    def chunk(self) -> int:
        """Tokens of the longest run: a power of two from 32 to 512."""
        work = _CHUNK_WORK[self.kernels.gpu.kind]
        most = work / max(1, self.graph.multiply_adds())
        largest = _FRUGAL if self.frugal else _LARGEST
        return int(min(largest, 2 ** np.clip(np.floor(np.log2(max(1.0, most))), 5, 9)))

    @cached_property
    def head(self) -> bool:
        """Whether some steps are for wanted rows."""
        return bool(self.plan.section(True))

    def bucket(self, tokens: int) -> int:
        """For how many tokens a run of so many is recorded: 1, 32, 128 or the chunk."""
        return next((n for n in self.buckets if n >= tokens), self.chunk)

    @property
    def buckets(self) -> tuple[int, ...]:
        """Runs are recorded for so many tokens."""
        return tuple(sorted({1, *(n for n in (32, 128) if n < self.chunk), self.chunk}))

    @cached_property
    def memory(self) -> int:
        """Bytes of activations that live within a section."""
        shapes = [(False, n) for n in self.buckets] + [(True, n) for n in (1, HEAD_ROWS)]
        return max(
            places(self.plan, self.plan.section(rows), most, self._waiting(most))[1]
            for rows, most in shapes
        )

    @cached_property
    def kept(self) -> dict[str, int]:
        """Bytes of values that outlive a section: inputs, outputs, and what is selected from."""
        found: dict[str, int] = {}
        for name, spec in self.graph.inputs.items():
            if len(spec.shape) == 2:
                found[name] = room(int(spec.shape[1]), self.chunk)
        for step in self.plan.steps:
            if self.plan.kept(step.out):
                most = HEAD_ROWS if self.plan.of_rows(step.out) else self.chunk
                found[step.out] = room(self.plan.width(step.out), most)
        return found

    @cached_property
    def state(self) -> int:
        """Bytes of the caches."""
        return sum(_up(state_bytes(spec)) for spec in self.graph.state.values())

    @cached_property
    def working(self) -> int:
        """Bytes of everything but the weights."""
        chunk = -(-self.chunk // 128) * 128
        widths = {self.plan.width(s.reads[0]) for s in self.plan.steps if s.node.op is Op.MATMUL}
        copies = sum(_up(3 * width * chunk) for width in widths)
        queries = max(
            (self.plan.width(s.reads[0]) for s in self.plan.steps if s.node.op is Op.ATTENTION),
            default=0,
        )
        experts = max(
            (
                experts_bytes(
                    [self.graph.weights[name] for name in step.reads[2:5]],
                    int(str(step.node.attrs["used"])),
                    self.chunk,
                )
                for step in self.plan.steps
                if step.node.op is Op.EXPERTS
            ),
            default=0,
        )
        frames = 2 * 4 * len(FIELDS) * self.chunk
        total = self.memory + sum(self.kept.values()) + self.state + copies
        return total + _up(8 * queries * chunk) + 2 * experts + frames + _SLACK

    @property
    def total(self) -> int:
        """All of it."""
        return self.placement.bytes + self.working

    def _waiting(self, most: int) -> frozenset[str]:
        return waiting(self.plan, self.kernels, most)


def _up(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT
