"""A mixture of experts: the best of them for each token, and the sum of what they make."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from forge.backend import WeightSpec
from forge_gpu.formats import FORMATS
from forge_gpu.matrices import Matrix
from forge_gpu.memory import ALIGNMENT, Region
from forge_gpu.steps.shape import ceil, lanes
from forge_gpu.steps.tiles import GROUP, Groups, Quantised, multiply, quantise, spread
from forge_gpu.tape import Activation, Tape

_FEW = 4
"""Tokens whose experts are read for each of them alone."""
_SUBGROUPS, _LANES = 4, 16
"""Of a work group for few tokens; lanes of one where there are no subgroups."""
_DOWN_ROWS = 2
_GATINGS = ("softmax", "sigmoid", "softmax_selected")
_ACTIVATIONS = {"silu": 1, "gelu": 2, "swiglu_oai": 3}


def experts_bytes(matrices: Sequence[WeightSpec], used: int, most: int) -> int:
    """Bytes of room that `experts` asks for at most: for gate, up and down, and so many tokens."""
    gate, up, down = matrices
    quantised = [FORMATS[spec.dtype].quantised for spec in (gate, up, down)]
    sizes = _sizes(quantised, down.shape, used, most, many=True)
    return sum(map(_aligned, sizes.values()))


def experts(
    tape: Tape,
    x: Activation,
    scores: Activation,
    matrices: Sequence[Matrix],
    out: Activation,
    *,
    biases: Sequence[Region] = (),
    room: Callable[[object, int], Region],
    used: int,
    activation: str = "silu",
    gating: str = "softmax",
    normalize: bool = True,
    factor: float = 1.0,
) -> None:
    """Write the sum of each token's `used` best experts; see `forge.reference.experts`.

    `matrices` are gate and up [e * f, n] and down [e * n, f], `biases` none or one of each [e, f],
    [e, f], [e, n]. `room` gives memory of so many bytes, in which nothing has to stay.
    """
    job = _Job(tape, x, matrices, biases, used, activation, room)
    job.route(scores, gating, normalize, factor)
    if job.is_few:
        job.few(out)
    else:
        job.many(out)


def _few(most: int, matrices: Sequence[Matrix]) -> bool:
    """Whether there are few tokens, and gate and up can be read by one kernel."""
    gate, up, _ = matrices
    first, second = gate.parts[0].region, up.parts[0].region
    return (
        most <= _FEW
        and gate.kind == up.kind
        and all(len(matrix.parts) == 1 for matrix in matrices)
        and first.buffer is second.buffer
        and (first.offset, first.size) == (second.offset, second.size)
    )


def _aligned(size: int) -> int:
    return ceil(size, ALIGNMENT) * ALIGNMENT


def _sizes(
    quantised: Sequence[bool], down: tuple[int, ...], used: int, most: int, *, many: bool
) -> dict[str, int]:
    """What a run for so many tokens needs, in bytes by name.

    `quantised` is of gate, up and down, and `down` has the latter's experts, rows and columns.
    """
    count, width, inner = down
    choices = used * most
    sizes = {"chosen": 4 * choices, "weights": 4 * choices, "gate": 4 * choices * inner}
    if any(quantised[:2]):
        sizes["x"] = Quantised.size(width, most)
    if quantised[2]:
        sizes["hidden"] = Quantised.size(inner, choices)
    if many:
        sizes["groups"] = Groups.size(count, used, most)
        sizes["up"] = 4 * choices * inner
        sizes["rows"] = 4 * choices * width
    return sizes


class _Job:
    """One mixture as it is recorded: what it reads, and its room."""

    def __init__(
        self,
        tape: Tape,
        x: Activation,
        matrices: Sequence[Matrix],
        biases: Sequence[Region],
        used: int,
        activation: str,
        room: Callable[[object, int], Region],
    ) -> None:
        self.tape, self.x, self.used = tape, x, used
        self.matrices, self.activation = matrices, _ACTIVATIONS[activation]
        self.biases: list[Region | None] = [*biases] or [None, None, None]
        self.is_few = _few(x.most, matrices)
        up, down = matrices[1:]
        sizes = _sizes(
            [matrix.quantised for matrix in matrices],
            (up.experts, down.rows, up.rows),
            used,
            x.most,
            many=not self.is_few,
        )
        whole, at = room("experts", sum(map(_aligned, sizes.values()))), 0
        self._room: dict[str, Region] = {}
        for name, size in sizes.items():
            self._room[name] = whole.part(at, size)
            at += _aligned(size)
        self._choices = x.most * used
        # Their counted rows are the tokens' times `used`.
        self._gate = Activation(self._room["gate"], up.rows, x.counter, self._choices)
        self._taken = Quantised.over(self._room["x"], x) if "x" in sizes else None
        self._hidden = (
            Quantised.over(self._room["hidden"], self._gate) if "hidden" in sizes else None
        )

    def route(self, scores: Activation, gating: str, normalize: bool, factor: float) -> None:
        """Choose the experts of each token; quantise its row for those that read it so."""
        room, taken = self._room, self._taken
        chosen = [room["chosen"], room["weights"]]
        codes = [taken.codes, taken.scales] if taken else chosen
        self.tape.run(
            "route",
            [self.tape.frame, scores.region, *chosen, self.x.region, *codes],
            (scores.most, 1, 1),
            writes=[2, 3, 5, 6],
            push=struct.pack("If", scores.counter, factor),
            constants=(
                *(max(64, self.used), 1, scores.width, self.used),
                *(_GATINGS.index(gating), int(normalize)),
                self.x.width // GROUP if taken else 0,
            ),
        )

    def few(self, out: Activation) -> None:
        """Each row of each token's experts by a subgroup."""
        gate, up, down = self.matrices
        gate_bias, up_bias, down_bias = self.biases
        self._choice_rows(gate, up, self._x_for(gate), self._down_x, gate_bias, up_bias)
        self._choice_rows(down, None, self._down_x, out, down_bias, None)

    def _choice_rows(
        self,
        matrix: Matrix,
        second: Matrix | None,
        x: Activation | Quantised,
        out: Activation | Quantised,
        bias: Region | None,
        up_bias: Region | None,
    ) -> None:
        """With a second matrix, both of them and what joins them; else the sums of choices."""
        tape, part = self.tape, matrix.parts[0]
        subgroup = lanes(tape.features)
        side_by_side = subgroup or _LANES
        shader = f"choices.TYPE={matrix.kind}.SUBGROUPS={int(subgroup > 0)}"
        codes, scales = _regions(x)
        made, made_scales = _regions(out)
        other = second.parts[0] if second else part
        # Sixteen rows of a work group can be quantised by it.
        rows, of_group = (GROUP // _SUBGROUPS, GROUP) if second else (_DOWN_ROWS, _DOWN_ROWS)
        tape.run(
            f"{shader}.DOT={int(tape.features.dot and matrix.quantised)}",
            [
                *(tape.frame, part.region, self._room["chosen"], self._room["weights"]),
                *(bias or part.region, up_bias or part.region, made, codes, scales, made_scales),
            ],
            (ceil(matrix.rows, of_group), out.most, 1),
            writes=[6, 9],
            push=part.packed() + other.packed() + struct.pack("2I", matrix.rows, x.counter),
            constants=(
                *(_SUBGROUPS * side_by_side, side_by_side, matrix.k, rows, self.used),
                *(int(second is None), self.activation, int(bias is not None)),
                int(isinstance(out, Quantised)),
            ),
            subgroup=subgroup,
        )

    def many(self, out: Activation) -> None:
        """Each expert's matrices by tiles of all the rows that chose it."""
        tape, room, used = self.tape, self._room, self.used
        gate, up, down = self.matrices
        gate_bias, up_bias, down_bias = self.biases
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
            constants=(256, 1, self.activation),
        )
        rows = Activation(room["rows"], down.rows, self.x.counter, self._choices)
        if self._hidden:
            quantise(tape, self._gate, self._hidden, used)
        multiply(tape, self._down_x, down, rows, down_bias, groups=groups)
        tape.run(
            "combine",
            [tape.frame, rows.region, room["weights"], out.region],
            (ceil(down.rows, 64), self.x.most, 1),
            writes=[3],
            push=struct.pack("2I", down.rows, self.x.counter),
            constants=(64, 1, used),
        )

    def _x_for(self, matrix: Matrix) -> Activation | Quantised:
        return self._taken if matrix.quantised and self._taken else self.x

    @property
    def _down_x(self) -> Activation | Quantised:
        """What goes down, a row for each choice."""
        return self._hidden or self._gate


def _regions(x: Activation | Quantised) -> tuple[Region, Region]:
    """Its numbers, and its scales if it has some."""
    return (x.codes, x.scales) if isinstance(x, Quantised) else (x.region, x.region)
