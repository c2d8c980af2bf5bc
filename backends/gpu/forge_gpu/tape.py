"""What steps are written to: kernels by name, over activations, into a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from forge_gpu.device import Recording
from forge_gpu.flow import NOTHING_AWAITED
from forge_gpu.kernels import Kernels
from forge_gpu.memory import Region

TOKENS, ROWS, REACH, CHUNK, HEADER = 0, 1, 2, 3, 8
"""Words of the frame, as in shaders/common.glsl."""
FIELDS = ("tokens", "positions", "slots", "rows")
"""Arrays of i32 [chunk] behind the header, in this order."""


@dataclass(frozen=True, slots=True, eq=False)
class Activation:
    """Float32 [most, width], row after row; the frame's word `counter` says how many rows count."""

    region: Region
    width: int
    counter: int
    most: int


class Tape:
    """Owns nothing: the kernels, the frame and the recording that steps need."""

    def __init__(self, kernels: Kernels, frame: Region, recording: Recording) -> None:
        self.kernels, self.frame, self.recording = kernels, frame, recording
        self.gpu = kernels.gpu
        self.features = kernels.gpu.features
        self.label = ""
        """Of what is recorded next: a node's name."""

    def run(
        self,
        shader: str,
        bindings: Sequence[Region],
        groups: tuple[int, int, int],
        *,
        writes: Sequence[int],
        push: bytes = b"",
        constants: tuple[int | float, ...] = (),
        subgroup: int = 0,
        waits: bool = False,
    ) -> None:
        """Record one kernel. Constants 0 and 1 are the work group's threads and the lanes.

        `waits`: it is one that can wait for others by itself, if the device has such kernels and
        the recording does without barriers. Its last constant is WAITS, its last buffer counters.
        """
        waits = waits and self.features.counters
        flow = self.recording.flow is not None
        kernel = self.kernels.get(
            shader,
            bindings=len(bindings) + waits,
            push=len(push) + len(NOTHING_AWAITED) * waits,
            constants=(*constants, int(flow)) if waits else constants,
            subgroup=subgroup,
        )
        if waits and not flow:
            bindings, push = [*bindings, bindings[writes[0]]], push + NOTHING_AWAITED
        self.recording.dispatch(
            *(kernel, bindings, groups),
            writes=writes,
            push=push,
            label=self.label or shader,
            waits=waits and flow,
        )
