"""Sections of a graph, recorded once: the steps for tokens, and those for rows that are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from forge.backend import Op
from forge_vulkan.emit import Emitter, Work
from forge_vulkan.frame import Frame
from forge_vulkan.marks import Marks
from forge_vulkan.plan import Plan, Step
from forge_vulkan.runtime.kernels import Kernels
from forge_vulkan.runtime.memory import Region
from forge_vulkan.runtime.pacing import Piece
from forge_vulkan.runtime.recording import Commands, Profile, Recording
from forge_vulkan.steps import products
from forge_vulkan.tape import ROWS, TOKENS, Activation, Tape
from forge_vulkan.values import places

_PIECE = 30e9
"""Multiply-adds of one command buffer, or a little more: the smallest unit of a submission."""


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

    def waiting(self, most: int) -> frozenset[str]:
        """Values that their readers make for themselves, in sections for so many rows."""
        return waiting(self.plan, self.kernels, most)

    def record(
        self,
        shape: Shape,
        frame: Frame,
        kept: Mapping[str, Activation],
        memory: Region,
        marks: Marks,
        profile: Profile | None = None,
    ) -> list[Piece]:
        """The section; `kept` are values that outlive it, `memory` has room for all others."""
        steps = self.plan.section(shape.rows)
        wait = self.waiting(shape.most)
        values = dict(kept)
        offsets, _ = places(self.plan, steps, shape.most, wait)
        for name, offset in offsets.items():
            width = self.plan.width(name)
            counter = ROWS if shape.rows else TOKENS
            region = memory.part(offset, 4 * width * shape.most)
            values[name] = Activation(region, width, counter, shape.most)
        pieces: list[Piece] = []
        recording = Recording(self.commands, profile)
        tape = Tape(self.kernels, frame.region, recording)
        emitter = Emitter(tape, self.plan, self.work, values, most=shape.most, waiting=wait)
        done = 0.0
        layer = None

        def before(step: Step) -> None:
            nonlocal recording, done, layer
            if done > _PIECE:
                pieces.append(Piece(recording.end(), done))
                recording = Recording(self.commands, profile)
                tape.recording = recording
                done = 0.0
            if step.node.layer != layer:
                layer = step.node.layer
                marks.record(tape, layer)
            done += self._work(step) * shape.most

        emitter.record(steps, before)
        pieces.append(Piece(recording.end(), done))
        return pieces

    def _work(self, step: Step) -> float:
        """Multiply-adds of a step for one row."""
        shapes = [self.plan.graph.weights[n].shape for n in step.reads if n in self.work.matrices]
        if step.node.op is Op.MATMUL:
            return float(shapes[0][0] * shapes[0][1])
        if step.node.op is Op.EXPERTS:
            used = float(str(step.node.attrs["used"]))
            return used * sum(s[1] * s[2] for s in shapes)
        return float(self.plan.width(step.out))


def waiting(plan: Plan, kernels: Kernels, most: int) -> frozenset[str]:
    """Values that their readers make for themselves, in sections for so many rows."""
    features = kernels.gpu.features
    weights = plan.graph.weights

    def one(step: Step) -> bool:
        spec = weights[step.reads[1]]
        return products.fits_one(features, spec.dtype, spec.shape[1])

    def many(step: Step) -> bool:
        spec = weights[step.reads[1]]
        return features.coopmat and products.cooperative(spec.dtype, spec.shape[1])

    return plan.waiting(one if most == 1 else many, pairs=most == 1)
