"""Everything that a graph runs, recorded before its first token."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from forge_gpu.device import Commands, Profile
from forge_gpu.emit import Work
from forge_gpu.frame import Frame
from forge_gpu.kernels import Kernels
from forge_gpu.matrices import Matrix
from forge_gpu.memory import Region
from forge_gpu.pacing import Piece
from forge_gpu.sections import Recorder, Shape
from forge_gpu.sizes import HEAD_ROWS
from forge_gpu.steps.sampling import (
    CANDIDATE_BYTES,
    GREEDY_BYTES,
    candidates,
    candidates_scratch_bytes,
    greedy,
    greedy_scratch_bytes,
)
from forge_gpu.tape import Activation, Tape
from forge_gpu.workplace import Workplace

AHEAD = 2
"""Steps under way at one time where each finds its token by itself."""
CANDIDATES = 40
"""Looked for at least: what most people sample from."""
STEP = Shape(False, 1), Shape(True, 1)
"""The sections of one token."""


def _nothing(tape: Tape) -> None:
    del tape


class Recordings:
    """Owns the recorded pieces; `first` is to be run before all others."""

    def __init__(
        self,
        kernels: Kernels,
        commands: Commands,
        place: Workplace,
        matrices: Mapping[str, Matrix],
        vectors: Mapping[str, Region],
    ) -> None:
        self._commands, self._place = commands, place
        self.plan, self._sizes = place.plan, place.sizes
        work = Work(matrices, vectors, place.room, place.table, place.cache)
        self._recorder = Recorder(kernels, commands, self.plan, work)
        self._sections: dict[tuple[Shape, Frame], list[Piece]] = {}
        self._settings = {frame: self._setting(frame) for frame in (place.many, place.one)}
        # The longest first: it asks for the most room.
        for frame, bodies, heads in (
            (place.many, reversed(self._sizes.buckets[1:]), (HEAD_ROWS, 1)),
            (place.one, (1,), (1,)),
        ):
            for shape in [
                *(Shape(False, most) for most in bodies),
                *(Shape(True, most) for most in heads if self._sizes.head),
            ]:
                pieces = self._record(shape, frame=frame)
                self._sections[shape, frame] = pieces + self._reading(shape)
        self.results: list[Region] = []
        self.greedy: list[list[Piece]] = []
        self._drawn: dict[int, list[Piece]] = {}
        if self.samples:
            self._record_decoding()
        recording = commands.recording()
        place.first(recording)
        self.first = Piece(recording.end(), 0.0)

    @property
    def samples(self) -> bool:
        """Whether it makes logits of tokens, which the device can look through."""
        graph = self._sizes.graph
        inputs = set(graph.inputs) == {"tokens", "positions", "slots", "rows"}
        return inputs and len(graph.outputs) == 1 and self.plan.of_rows(graph.outputs[0])

    def setting(self, frame: Frame) -> Piece:
        """What brings a run's words and inputs to the device."""
        return self._settings[frame]

    def section(self, shape: Shape, frame: Frame) -> list[Piece]:
        """The steps for tokens, or for rows, and what brings their results to the host."""
        return self._sections[shape, frame]

    def candidates(self, wanted: int) -> tuple[list[Piece], Region]:
        """A step that looks for so many candidates, and where they are."""
        wanted = max(CANDIDATES, wanted)
        if wanted not in self._drawn:
            logits, scratch = self._logits()
            self._drawn[wanted] = self._record(
                *STEP,
                frame=self._place.one,
                after=lambda tape: candidates(tape, logits, self._few, scratch, wanted=wanted),
            )
        return self._drawn[wanted], self._few

    def profiled(self, shapes: list[Shape], frame: Frame, profile: Profile) -> list[Piece]:
        """Sections with a time stamp before and after each kernel."""
        return self._record(*shapes, frame=frame, profile=profile)

    def _record(
        self,
        *shapes: Shape,
        frame: Frame,
        after: Callable[[Tape], None] = _nothing,
        profile: Profile | None = None,
    ) -> list[Piece]:
        place = self._place
        return self._recorder.record(
            *(shapes, frame, place.activations, place.memory, place.marks),
            after=after,
            profile=profile,
        )

    def _record_decoding(self) -> None:
        """Steps that find their token by themselves, as many as are under way at one time."""
        self.results = [self._place.download.region(GREEDY_BYTES) for _ in range(AHEAD)]
        self._few = self._place.download.region(CANDIDATE_BYTES)
        logits, _ = self._logits()
        scratch = self._place.room("largest", greedy_scratch_bytes())

        def largest(result: Region) -> Callable[[Tape], None]:
            return lambda tape: greedy(tape, logits, result, scratch, onward=True)

        self.greedy = [
            self._record(*STEP, frame=self._place.one, after=largest(result))
            for result in self.results
        ]
        self.candidates(CANDIDATES)

    def _logits(self) -> tuple[Activation, Region]:
        (name,) = self._sizes.graph.outputs
        logits = self._place.activations(STEP[1])[name]
        scratch = self._place.room("candidates", candidates_scratch_bytes(logits.width))
        return logits, scratch

    def _setting(self, frame: Frame) -> Piece:
        recording = self._commands.recording()
        frame.record(recording)
        for name, region in self._place.inputs.items():
            if region is not self._place.kept[name]:
                recording.copy(region, self._place.kept[name])
        return Piece(recording.end(), 0.0)

    def _reading(self, shape: Shape) -> list[Piece]:
        """What brings results to where the host sees them."""
        copied = {
            name: region
            for name, region in self._place.results.items()
            if self.plan.of_rows(name) is shape.rows and region is not self._place.kept[name]
        }
        if not copied:
            return []
        recording = self._commands.recording()
        for name, region in copied.items():
            size = 4 * self.plan.width(name) * shape.most
            recording.copy(self._place.kept[name].part(0, size), region)
        return [Piece(recording.end(), 0.0)]

    def read_logits(self) -> list[Piece]:
        """What brings one row of logits to the host after a step that did not."""
        return self._sections[STEP[1], self._place.one][-1:] if self._reads else []

    @property
    def _reads(self) -> bool:
        return any(r is not self._place.kept[name] for name, r in self._place.results.items())
