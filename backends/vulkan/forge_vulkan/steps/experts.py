"""A mixture of experts: the best of them for each token, and the sum of what they make."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from forge_vulkan.matrices import Matrix
from forge_vulkan.runtime.memory import ALIGNMENT, Region
from forge_vulkan.steps.shape import ceil, lanes
from forge_vulkan.steps.tiles import Groups, Quantised, multiply, quantise, spread
from forge_vulkan.tape import Activation, Tape

_FEW = 4
"""Tokens whose experts are read for each of them alone."""
_GATINGS = ("softmax", "sigmoid", "softmax_selected")
_ACTIVATIONS = {"silu": 1, "gelu": 2, "swiglu_oai": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """How experts are chosen and weighed: the attributes of the op, see `forge.reference.experts`."""

    used: int
    activation: str = "silu"
    gating: str = "softmax"
    normalize: bool = True
    factor: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Experts:
    """The experts' matrices, gate and up [e * f, n] and down [e * n, f], and all three biases or
    none: [e, f], [e, f], [e, n]."""

    gate: Matrix
    up: Matrix
    down: Matrix
    biases: tuple[Region, Region, Region] | None = None

    @property
    def one_kernel(self) -> bool:
        """Whether gate and up can be read by one kernel."""
        gate, up = self.gate.parts[0].region, self.up.parts[0].region
        return (
            self.gate.kind == self.up.kind
            and all(len(m.parts) == 1 for m in (self.gate, self.up, self.down))
            and (gate.buffer, gate.offset, gate.size) == (up.buffer, up.offset, up.size)
        )


def experts_bytes(weights: Experts, mixture: Mixture, most: int) -> int:
    """Bytes of room that `experts` needs beside its operands, for so many tokens."""
    return sum(map(_aligned, _sizes(weights, mixture, most).values()))


def experts(
    tape: Tape,
    x: Activation,
    scores: Activation,
    weights: Experts,
    out: Activation,
    room: Region,
    mixture: Mixture,
) -> None:
    """Write the sum of each token's experts to `out`; `room` has at least `experts_bytes`."""
    job = _Job(tape, x, weights, mixture, room)
    job.route(scores)
    if x.most <= _FEW and weights.one_kernel:
        job.few(out)
    else:
        job.many(out)


def _aligned(size: int) -> int:
    return ceil(size, ALIGNMENT) * ALIGNMENT


def _sizes(weights: Experts, mixture: Mixture, most: int) -> dict[str, int]:
    """What a run for so many tokens needs, in bytes by name."""
    choices, up, down = mixture.used * most, weights.up, weights.down
    sizes = {"chosen": 4 * choices, "weights": 4 * choices, "gate": 4 * choices * up.rows}
    if up.quantised or weights.gate.quantised:
        sizes["x"] = Quantised.size(up.k, most)
    if down.quantised:
        sizes["hidden"] = Quantised.size(down.k, choices)
    if most > _FEW or not weights.one_kernel:
        sizes["groups"] = Groups.size(up.experts, mixture.used, most)
        sizes["up"] = 4 * choices * up.rows
        sizes["rows"] = 4 * choices * down.rows
    return sizes


class _Job:
    """One mixture as it is recorded: what it reads, and its room."""

    def __init__(
        self, tape: Tape, x: Activation, weights: Experts, mixture: Mixture, room: Region
    ) -> None:
        self.tape, self.x, self.weights, self.mixture = tape, x, weights, mixture
        self._room: dict[str, Region] = {}
        at = 0
        for name, size in _sizes(weights, mixture, x.most).items():
            self._room[name] = room.part(at, size)
            at += _aligned(size)
        self._choices = x.most * mixture.used
        # Their counted rows are the tokens' times `used`.
        self._gate = Activation(self._room["gate"], weights.up.rows, x.counter, self._choices)
        self._taken: Quantised | None = None

    def route(self, scores: Activation) -> None:
        """Choose the experts of each token."""
        mixture, room = self.mixture, self._room
        self.tape.run(
            "route",
            [self.tape.frame, scores.region, room["chosen"], room["weights"]],
            (scores.most, 1, 1),
            writes=[2, 3],
            push=struct.pack("If", scores.counter, mixture.factor),
            constants=(
                *(max(64, mixture.used), 1, scores.width, mixture.used),
                *(_GATINGS.index(mixture.gating), int(mixture.normalize)),
            ),
        )

    def few(self, out: Activation) -> None:
        """Each row of each token's experts by a subgroup."""
        gate, up, down = self.weights.gate, self.weights.up, self.weights.down
        gate_bias, up_bias, down_bias = self.weights.biases or (None, None, None)
        self._choice_rows(gate, up, self._x_for(gate), self._gate, gate_bias, up_bias)
        self._choice_rows(down, None, self._hidden(), out, down_bias, None)

    def _choice_rows(
        self,
        matrix: Matrix,
        second: Matrix | None,
        x: Activation | Quantised,
        out: Activation,
        bias: Region | None,
        up_bias: Region | None,
    ) -> None:
        """With a second matrix, both of them and what joins them; else the sums of choices."""
        tape, mixture, part = self.tape, self.mixture, matrix.parts[0]
        subgroup = lanes(tape.features)
        side_by_side = subgroup or 16
        threads = 4 * side_by_side
        shader = f"choices.TYPE={matrix.kind}.SUBGROUPS={int(subgroup > 0)}"
        given = [x.codes, x.scales] if isinstance(x, Quantised) else [x.region, x.region]
        other = second.parts[0] if second else part
        biases = [bias or part.region, up_bias or part.region]
        tape.run(
            f"{shader}.DOT={int(tape.features.dot and matrix.quantised)}",
            [
                *(tape.frame, part.region, self._room["chosen"], self._room["weights"]),
                *(*biases, out.region, *given),
            ],
            (ceil(matrix.rows, threads // side_by_side), out.most, 1),
            writes=[6],
            push=part.packed() + other.packed() + struct.pack("2I", matrix.rows, x.counter),
            constants=(
                *(threads, side_by_side, matrix.k, 1, mixture.used, int(second is None)),
                *(_ACTIVATIONS[mixture.activation], int(bias is not None)),
            ),
            subgroup=subgroup,
        )

    def many(self, out: Activation) -> None:
        """Each expert's matrices by tiles of all the rows that chose it."""
        tape, room, used = self.tape, self._room, self.mixture.used
        gate, up, down = self.weights.gate, self.weights.up, self.weights.down
        gate_bias, up_bias, down_bias = self.weights.biases or (None, None, None)
        groups = Groups(room["groups"], used, up.experts, self.x.most)
        tape.run(
            "group",
            [tape.frame, room["chosen"], groups.words],
            (1, 1, 1),
            writes=[2],
            push=struct.pack("2I", self.x.counter, groups.order),
            constants=(256, 1, up.experts, used, groups.block),
        )
        ups = Activation(room["up"], up.rows, self.x.counter, self._choices)
        for matrix, bias, made in ((gate, gate_bias, self._gate), (up, up_bias, ups)):
            multiply(tape, self._x_for(matrix), matrix, made, bias, groups=groups, share=used)
        tape.run(
            "activate",
            [tape.frame, self._gate.region, ups.region],
            spread(ceil(self._choices * up.rows, 256)),
            writes=[1],
            push=struct.pack("2I", used * up.rows, self.x.counter),
            constants=(256, 1, _ACTIVATIONS[self.mixture.activation]),
        )
        rows = Activation(room["rows"], down.rows, self.x.counter, self._choices)
        multiply(tape, self._hidden(), down, rows, down_bias, groups=groups)
        tape.run(
            "combine",
            [tape.frame, rows.region, room["weights"], out.region],
            (ceil(down.rows, 64), self.x.most, 1),
            writes=[3],
            push=struct.pack("2I", down.rows, self.x.counter),
            constants=(64, 1, used),
        )

    def _x_for(self, matrix: Matrix) -> Activation | Quantised:
        if not matrix.quantised:
            return self.x
        if self._taken is None:
            self._taken = Quantised.over(self._room["x"], self.x)
            quantise(self.tape, self.x, self._taken)
        return self._taken

    def _hidden(self) -> Activation | Quantised:
        """What goes down, a row for each choice."""
        if not self.weights.down.quantised:
            return self._gate
        taken = Quantised.over(self._room["hidden"], self._gate)
        quantise(self.tape, self._gate, taken, self.mixture.used)
        return taken
