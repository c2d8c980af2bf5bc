"""Sections of a graph, recorded once: the steps for tokens, and those for rows that are wanted."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from forge.backend import Op, Step
from forge_gpu.device import Commands, Profile
from forge_gpu.emit import Emitter, Work
from forge_gpu.emitters import record
from forge_gpu.flow import FLOW_BYTES
from forge_gpu.frame import Frame
from forge_gpu.kernels import Kernels
from forge_gpu.marks import Marks
from forge_gpu.memory import Region
from forge_gpu.pacing import Piece
from forge_gpu.plan import Plan
from forge_gpu.steps import products
from forge_gpu.tape import ROWS, TOKENS, Activation, Tape
from forge_gpu.values import places

_PIECE = {"discrete": 30e9, "integrated": 10e9, "software": 1e8}
"""Multiply-adds of one command buffer, or a little more: the smallest unit of a submission, so half
a second on a slow device of its kind."""


@dataclass(frozen=True, slots=True)
class Shape:
    """Which steps, for how many rows at most."""

    rows: bool
    most: int


class Recorder:
    """Records sections of one plan over one set of weights, caches and work memory."""

    def __init__(self, kernels: Kernels, commands: Commands, plan: Plan, work: Work) -> None:
        self.kernels, self.commands = kernels, commands
        self.plan, self.work = plan, work
        self.most = _PIECE.get(kernels.gpu.kind, 10e9)

    def record(
        self,
        shapes: Sequence[Shape],
        frame: Frame,
        kept: Callable[[Shape], Mapping[str, Activation]],
        memory: Region,
        marks: Marks,
        *,
        after: Callable[[Tape], None],
        profile: Profile | None = None,
    ) -> list[Piece]:
        """Sections, one after the other, and what `after` adds to them.

        `kept` are values that outlive a section, `memory` has room for all others.
        """
        pieces: list[Piece] = []
        flow = self._flow(shapes) if profile is None else None
        tape = Tape(self.kernels, frame.region, self.commands.recording(profile, flow))
        reset(tape)
        done, layer = 0.0, None
        most = 1

        def before(step: Step) -> None:
            nonlocal done, layer
            if done > self.most:
                pieces.append(Piece(tape.recording.end(), done))
                tape.recording = self.commands.recording(profile, flow)
                reset(tape)
                done = 0.0
            if step.node.layer != layer:
                layer = step.node.layer
                marks.record(tape, layer)
            done += self._work(step) * most

        for shape in shapes:
            most = shape.most
            steps = self.plan.section(shape.rows)
            wait = waiting(self.plan, self.kernels, most)
            values = {**kept(shape), **self._placed(shape, steps, memory, wait)}
            if frame.chunk == 1:
                steps = self._nothing_to_select(steps, values)
            emitter = Emitter(tape, self.plan, self.work, values, most=most, waiting=wait)
            record(emitter, steps, before)
        after(tape)
        pieces.append(Piece(tape.recording.end(), done))
        return pieces

    def _nothing_to_select(
        self, steps: Sequence[Step], values: dict[str, Activation]
    ) -> list[Step]:
        """Steps but for selections: of one token, the row that is wanted is the one there is."""
        left = []
        for step in steps:
            if step.node.op is Op.SELECT_ROWS and not self.plan.kept(step.out):
                values[step.out] = replace(values[step.reads[0]], most=1)
            else:
                left.append(step)
        return left

    def _flow(self, shapes: Sequence[Shape]) -> Region | None:
        """Counters for kernels of one token, where they can wait for each other."""
        if self.kernels.gpu.features.flow and all(shape.most == 1 for shape in shapes):
            return self.work.room("flow", FLOW_BYTES)
        return None

    def _placed(
        self, shape: Shape, steps: Sequence[Step], memory: Region, wait: frozenset[str]
    ) -> dict[str, Activation]:
        found: dict[str, Activation] = {}
        for name, offset in places(self.plan, steps, shape.most, wait)[0].items():
            width = self.plan.width(name)
            region = memory.part(offset, 4 * width * shape.most)
            found[name] = Activation(region, width, ROWS if shape.rows else TOKENS, shape.most)
        return found

    def _work(self, step: Step) -> float:
        """Multiply-adds of a step for one row."""
        shapes = [self.plan.graph.weights[n].shape for n in step.reads if n in self.work.matrices]
        if step.node.op is Op.MATMUL:
            return float(shapes[0][0] * shapes[0][1])
        if step.node.op is Op.EXPERTS:
            used = float(str(step.node.attrs["used"]))
            return used * sum(s[1] * s[2] for s in shapes)
        return float(self.plan.width(step.out))


def reset(tape: Tape) -> None:
    """Record that the counters of a flow begin at 0."""
    if tape.recording.flow:
        words = struct.pack("I", FLOW_BYTES // 4)
        tape.run(
            "reset",
            [tape.recording.flow.region],
            (1, 1, 1),
            writes=[0],
            push=words,
            constants=(1024, 1),
        )


def waiting(plan: Plan, kernels: Kernels, most: int) -> frozenset[str]:
    """Values that their readers make for themselves, in sections for so many rows."""
    features = kernels.gpu.features
    weights = plan.graph.weights

    def one(step: Step) -> bool:
        spec = weights[step.reads[1]]
        return products.fits_one(features, spec.dtype, spec.shape[1])

    def many(step: Step) -> bool:
        spec = weights[step.reads[1]]
        fits = products.cooperative(spec.dtype, spec.shape[1])
        return features.coopmat and fits and not plan.scores(step)

    return plan.waiting(one if most == 1 else many, pairs=most == 1)
