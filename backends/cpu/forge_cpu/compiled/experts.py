"""A mixture of experts as calls of kernels: choose, gather, gate and up, activate, down, combine.

Of a run of many tokens the choices are sorted, so that each busy expert's matrices are read once. A
token alone needs no sorting: its row goes to each of its experts as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from forge.backend import Array, Step, attributes
from forge_cpu.kv import lazy_bytes
from forge_cpu.packing import Packed, lines_for
from forge_cpu.products import multiply_experts, quantise
from forge_cpu.program import PerThread
from forge_cpu.steps import Choices, Tensor, add_combine, add_elementwise, add_gather, add_route

if TYPE_CHECKING:
    from forge_cpu.compiled.emit import Emitter

_GATES = {
    "silu": "gates.silu_mul",
    "gelu": "gates.gelu_mul_tanh",
    "swiglu_oai": "gates.swiglu_oai",
}
"""By the attribute `activation`."""


@dataclass(frozen=True, slots=True)
class Room:
    """Who goes where, and the activations on the way, a row for each choice."""

    choices: Choices
    rows: Array
    row_lines: Array
    gate: Array
    up: Array
    gated_lines: Array
    made: Array

    @classmethod
    def of(cls, choices: Choices, width: int, inner: int) -> Room:
        """For matrices [inner, width] there, and [width, inner] back."""
        count = choices.chosen.size
        rows, made = _floats(count, width), _floats(count, width)
        gate, up = _floats(count, inner), _floats(count, inner)
        lines = lines_for(count, width), lines_for(count, inner)
        return cls(choices, rows, lines[0], gate, up, lines[1], made)


def experts(e: Emitter, step: Step) -> None:
    """The gated networks of the best experts, weighed and summed."""
    m, r = e.memory, e.recorder
    attrs: dict[str, Any] = dict(attributes(step.node))
    x, scores = step.reads[:2]
    gate, up, down = (m.shared.matrix(name) for name in step.reads[2:5])
    biases: list[Array | None] = [*map(m.shared.vector, step.reads[5:])] or [None] * 3
    tokens, out = m.shared.counter(step.out), m.values[step.out]
    # The rows that are wanted of one token may be none, or the same one twice.
    room = _room(e, down, attrs["used"], alone=e.single and tokens is m.shared.inputs.tokens)
    choices = room.choices

    ways = {name: attrs[name] for name in ("gating", "normalize", "factor")}
    with r.touching([m.values[scores]], [choices.chosen, choices.weights, choices.starts]):
        add_route(r, tokens, m.values[scores], choices, **ways)
    sources = _sources(e, room, x, tokens, (gate, up))
    for matrix, bias, made in ((gate, biases[0], room.gate), (up, biases[1], room.up)):
        _multiply(e, choices, matrix, sources[matrix.quantised], bias, made, shared=choices.alone)
    with r.touching([room.gate, room.up], [room.gate]):
        kernel = _GATES[attrs["activation"]]
        add_elementwise(r, kernel, choices.rows, room.gate, room.gate, room.up)
    gated = room.gate
    if down.quantised:
        gated = room.gated_lines
        with r.touching([room.gate], [gated]):
            quantise(r, choices.rows, room.gate, gated, down.columns)
    _multiply(e, choices, down, gated, biases[2], room.made)
    with r.touching([room.made, choices.chosen], [out]):
        add_combine(r, tokens, choices, room.made, out)


def _sources(
    e: Emitter, room: Room, x: str, tokens: Array, matrices: Sequence[Packed]
) -> dict[bool, Tensor]:
    """By whether a matrix is quantised, what it multiplies: a lone token's row, or all choices'."""
    found: dict[bool, Tensor] = {}
    for quantised in sorted({matrix.quantised for matrix in matrices}):
        given = e.lines(x) if quantised else e.memory.values[x]
        found[quantised] = given
        if not room.choices.alone:
            gathered = found[quantised] = room.row_lines if quantised else room.rows
            words = _words(matrices[0], quantised)
            row, place = _viewed(given, words), _viewed(gathered, words)
            with e.recorder.touching([given, room.choices.starts], [gathered]):
                add_gather(e.recorder, tokens, room.choices, row, place)
    return found


def _viewed(array: Tensor, words: int) -> Tensor:
    """As float32 rows."""
    if isinstance(array, PerThread):
        return PerThread(tuple(each.view(np.float32).reshape(-1, words) for each in array.each))
    return array.view(np.float32).reshape(-1, words)


def _words(matrix: Packed, quantised: bool) -> int:
    """Numbers of four bytes in a row that a matrix multiplies."""
    return len(lines_for(1, matrix.columns)) // 4 if quantised else matrix.columns


def _multiply(
    e: Emitter,
    choices: Choices,
    matrix: Packed,
    x: Tensor,
    bias: Array | None,
    out: Array,
    *,
    shared: bool = False,
) -> None:
    with e.recorder.touching([x, choices.chosen, choices.starts], [out]):
        added = 0 if bias is None else bias
        multiply_experts(e.recorder, matrix, choices, x, out, bias=added, shared=shared)


def _room(e: Emitter, down: Packed, used: int, *, alone: bool) -> Room:
    """Layers of one shape share it."""
    m = e.memory

    def make() -> Room:
        count = down.experts
        choices = Choices.of_one(count, used) if alone else Choices.of(m.chunk, count, used)
        return Room.of(choices, down.rows, down.columns)

    return m.room((alone, down.experts, used, down.rows, down.columns), make)


def _floats(rows: int, columns: int) -> Array:
    return lazy_bytes(4 * rows * columns).view(np.float32).reshape(rows, columns)
