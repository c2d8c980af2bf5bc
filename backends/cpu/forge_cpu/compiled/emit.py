"""A graph's steps as calls of kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from forge.backend import Array, Op, Step, attributes
from forge_cpu.compiled.calls import Recorder
from forge_cpu.compiled.experts import experts
from forge_cpu.compiled.memory import Memory
from forge_cpu.library import Library
from forge_cpu.packing import Packed
from forge_cpu.products import multiply, quantise, read_rows
from forge_cpu.program import PerThread
from forge_cpu.steps import (
    AttentionStep,
    add_angles,
    add_elementwise,
    add_norm,
    add_rope,
    add_select_rows,
)


class Emitter:
    """Writes one program; knows which activations are quantised and which angles are computed."""

    def __init__(self, memory: Memory, library: Library, *, single: bool) -> None:
        self.memory, self.single = memory, single
        self.recorder = Recorder(library)
        self._quantised: dict[int, str] = {}
        self._angles: set[object] = set()
        products = [step for step in memory.shared.steps if step.node.op is Op.MATMUL]
        nexts = [*products[1:], *products[:1]]
        self._following = {a.out: b.reads[1] for a, b in zip(products, nexts, strict=True)}

    def record(self) -> Recorder:
        """All steps; `single` ones are for runs of one token."""
        for step in self.memory.shared.steps:
            EMITTERS[step.node.op](self, step)
        return self.recorder

    def following(self, step: Step) -> Packed:
        """The matrix of the product after this one; of the last, the first product's."""
        return self.memory.shared.matrix(self._following[step.out])

    def lines(self, name: str) -> Array | PerThread:
        """An activation quantised to int8 in blocks; once for all products that read it."""
        m, width = self.memory, self.memory.shared.width(name)
        lines, x = m.lines(width), m.values[name]
        if self._quantised.get(width) != name:
            self._quantised[width] = name
            with self.recorder.touching([x], [lines]):
                quantise(self.recorder, m.shared.counter(name), x, lines, width)
        return lines

    def angles(self, frequencies: tuple[float, ...], magnitude: float) -> Array | PerThread:
        """Cosines and sines of this run's positions; once for all layers."""
        table = self.memory.angles(frequencies, magnitude)
        key = frequencies, magnitude
        if key not in self._angles:
            self._angles.add(key)
            with self.recorder.touching([], [table]):
                add_angles(
                    self.recorder, self.memory.shared.inputs.frame, frequencies, magnitude, table
                )
        return table


def embed(e: Emitter, step: Step) -> None:
    """Rows of a table by token id."""
    m = e.memory
    table, out = m.shared.matrix(step.reads[1]), m.values[step.out]
    with e.recorder.touching([], [out]):
        read_rows(
            e.recorder,
            table,
            m.shared.counter(step.out),
            m.shared.inputs.row_numbers(step.reads[0]),
            out,
        )


def norm(e: Emitter, step: Step) -> None:
    """Of rows, or of the runs of a row that are as long as the weight."""
    m = e.memory
    x, out = m.values[step.reads[0]], m.values[step.out]
    weight, bias, *_ = [*(m.shared.vector(name) for name in step.reads[1:]), None, None]
    with e.recorder.touching([x], [out]):
        add_norm(
            e.recorder,
            m.shared.counter(step.out),
            x,
            out,
            epsilon=float(_attribute(step, "epsilon")),
            size=None if weight is None else len(weight),
            centred=step.node.op is Op.LAYER_NORM,
            weight=weight,
            bias=bias,
        )


def matmul(e: Emitter, step: Step) -> None:
    """A product, with a bias and a residual where the sum is its only use."""
    m = e.memory
    x, weight = step.reads
    matrix, out = m.shared.matrix(weight), m.values[step.out]
    source = e.lines(x) if matrix.quantised else m.values[x]
    residual = [m.values[step.residual]] if step.residual else []
    with e.recorder.touching([source, *residual], [out]):
        multiply(
            e.recorder,
            matrix,
            m.shared.counter(x),
            source,
            out,
            bias=m.shared.vector(step.bias) if step.bias else 0,
            residual=residual[0] if residual else 0,
            following=e.following(step),
        )


def elementwise(e: Emitter, step: Step) -> None:
    """Sums, products, gates, caps, scales."""
    m, op = e.memory, step.node.op
    kernel = f"elementwise.{op}"
    if op is Op.SILU_MUL:
        kernel = "gates.silu_mul"
    elif op is Op.GELU_MUL:
        kernel = f"gates.gelu_mul_{_attribute(step, 'approximation')}"
    number = {Op.SOFTCAP: "cap", Op.SCALE: "factor"}.get(op)
    a, out = m.values[step.reads[0]], m.values[step.out]
    b = m.operand(step.reads[1]) if len(step.reads) > 1 else None
    with e.recorder.touching([a, *([] if b is None else [b])], [out]):
        constant = float(_attribute(step, number)) if number else 0.0
        add_elementwise(e.recorder, kernel, m.shared.counter(step.out), out, a, b, constant)


def rope(e: Emitter, step: Step) -> None:
    """Rotate the heads by the run's angles."""
    m = e.memory
    table = e.angles(_attribute(step, "frequencies"), float(_attribute(step, "magnitude")))
    x, out = m.values[step.reads[0]], m.values[step.out]
    style, heads = _attribute(step, "style"), int(_attribute(step, "heads"))
    with e.recorder.touching([x, table], [out]):
        add_rope(e.recorder, m.shared.inputs.tokens, table, style, heads, x, out)


def attention(e: Emitter, step: Step) -> None:
    """Append to the cache, then attend."""
    m = e.memory
    attrs: dict[str, Any] = dict(attributes(step.node))
    q, k, v = (m.values[name] for name in step.reads[:3])
    out = m.values[step.out]
    node, cache, work = m.shared.attention(step.reads[3], step.reads[4], attrs.pop("heads"))
    attrs.pop("kv_heads")
    sinks = m.shared.vector(step.reads[7]) if len(step.reads) == 8 else None
    scratch, partials = work
    made = AttentionStep(
        *(m.shared.inputs.frame, node, cache, work, q, k, v, out),
        sinks=sinks,
        single=e.single,
        **attrs,
    )
    with e.recorder.touching([q, k, v], [cache.keys, *work, *([] if e.single else [out])]):
        made.add_tiles(e.recorder)
    alone = isinstance(out, PerThread)
    with e.recorder.touching([partials], [out, *([] if alone else [scratch])]):
        made.add_join(e.recorder)


def select_rows(e: Emitter, step: Step) -> None:
    """The rows that are wanted."""
    m = e.memory
    x, out = m.values[step.reads[0]], m.values[step.out]
    with e.recorder.touching([x], [out]):
        add_select_rows(e.recorder, m.shared.inputs.rows, m.shared.inputs["rows"], x, out)


def _attribute(step: Step, name: str) -> Any:
    return attributes(step.node)[name]


EMITTERS: dict[Op, Callable[[Emitter, Step], None]] = {
    Op.EMBED: embed,
    Op.RMS_NORM: norm,
    Op.LAYER_NORM: norm,
    Op.MATMUL: matmul,
    Op.ADD: elementwise,
    Op.MUL: elementwise,
    Op.SILU_MUL: elementwise,
    Op.GELU_MUL: elementwise,
    Op.SOFTCAP: elementwise,
    Op.SCALE: elementwise,
    Op.ROPE: rope,
    Op.ATTENTION: attention,
    Op.SELECT_ROWS: select_rows,
    Op.EXPERTS: experts,
}
