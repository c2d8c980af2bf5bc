"""A plan's steps as recorded kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from forge.backend import BackendUnsupported, Op, attributes
from forge_vulkan.kv import Cache
from forge_vulkan.matrices import Matrix
from forge_vulkan.plan import Plan, Step
from forge_vulkan.runtime.memory import Region
from forge_vulkan.steps import elementwise, products
from forge_vulkan.steps.attention import Heads, Rotation, append, attention
from forge_vulkan.steps.attention_decode import (
    attention_decode,
    codable,
    scratch_bytes,
    splits,
)
from forge_vulkan.steps.embed import embed
from forge_vulkan.steps.experts import experts
from forge_vulkan.steps.norms import norm
from forge_vulkan.steps.products import Added, Coded, Halves, Next, Norm
from forge_vulkan.steps.rows import rope, select_rows
from forge_vulkan.steps.tiles import Quantised, multiply, quantise
from forge_vulkan.tape import Activation, Tape


class Work:
    """What steps need beside their operands: weights, caches, tables, and room to work in."""

    def __init__(
        self,
        matrices: Mapping[str, Matrix],
        vectors: Mapping[str, Region],
        room: Callable[[object, int], Region],
        table: Callable[[tuple[float, ...]], Region],
        cache: Callable[[str], Region],
    ) -> None:
        self.matrices, self.vectors = matrices, vectors
        self.room, self.table, self.cache = room, table, cache


class Emitter:
    """Records one section for `most` rows; knows which values wait for their readers."""

    def __init__(
        self,
        tape: Tape,
        plan: Plan,
        work: Work,
        values: Mapping[str, Activation],
        *,
        most: int,
        waiting: frozenset[str],
    ) -> None:
        self.tape, self.plan, self.work = tape, plan, work
        self.values, self.most, self.waiting = values, most, waiting
        self._halved: dict[int, str] = {}
        self._quantised: dict[int, str] = {}
        self._coded: dict[str, Coded] = {}
        self.coopmat = tape.features.coopmat and most > 1

    @property
    def single(self) -> bool:
        """Whether it is for one row at a time."""
        return self.most == 1

    def record(self, steps: Sequence[Step], before: Callable[[Step], None]) -> None:
        """All of them; `before` hears of each that records something."""
        for step in steps:
            if step.out not in self.waiting:
                before(step)
                self.tape.label = step.out
                EMITTERS[step.node.op](self, step)

    def attrs(self, step: Step) -> dict[str, Any]:
        """A node's attributes with their defaults."""
        return dict(attributes(step.node))

    def operand(self, name: str) -> Activation | Region:
        """An activation, or a weight of one row."""
        return self.work.vectors[name] if name in self.work.vectors else self.values[name]

    def norm_of(self, name: str) -> tuple[str, Norm | None]:
        """What is behind a value: if it waits as a norm, what is normed, and how."""
        if name in self.waiting and self.plan.made_by[name].node.op is Op.RMS_NORM:
            step = self.plan.made_by[name]
            weight = self.work.vectors[step.reads[1]]
            return step.reads[0], Norm(weight, float(self.attrs(step)["epsilon"]))
        return name, None

    def source(self, name: str, matrix: Matrix) -> tuple[Activation | Coded, Norm | None]:
        """What a product for one row reads: as int8 from where it was made, if that was asked."""
        behind, normed = self.norm_of(name)
        if matrix.quantised and name in self._coded:
            return self._coded[name], normed
        return self.values[behind], normed

    def following(self, name: str, matrix: Matrix, *, gate: bool = False) -> Next | None:
        """How the next products want what a product makes, if they read it as int8.

        A norm that they compute themselves comes first; the others read what was made.
        """
        if len(matrix.parts) > 1 or not products.codable(
            self.tape.features, matrix.kind, matrix.n, matrix.k, gate=gate
        ):
            return None
        for wanted in self._norms(name):
            if row := self.coded(wanted):
                return Next(row, self._norm_weight(wanted))
        row = self.coded(name)
        return Next(row) if row else None

    def coded(self, name: str) -> Coded | None:
        """Where a value goes as int8, if products read it so; from now on they do."""
        readers = self.plan.readers.get(name, ())
        if not any(self._reads_codes(step, name) for step in readers):
            return None
        width = self.plan.width(name)
        self._coded[name] = Coded(self.work.room(("coded", name), Coded.size(width)), width)
        return self._coded[name]

    def _norms(self, name: str) -> list[str]:
        return [
            step.out
            for step in self.plan.readers.get(name, ())
            if step.out in self.waiting and step.node.op is Op.RMS_NORM and step.reads[0] == name
        ]

    def _norm_weight(self, name: str) -> Region:
        return self.work.vectors[self.plan.made_by[name].reads[1]]

    def _reads_codes(self, step: Step, name: str) -> bool:
        if step.node.op is not Op.MATMUL or step.reads[0] != name:
            return False
        matrix = self.work.matrices[step.reads[1]]
        return matrix.quantised and products.fits_one(self.tape.features, matrix.kind, matrix.k)

    def halves(self, name: str) -> Halves:
        """A value as 16-bit floats; once for all products that read it."""
        width = self.plan.width(name)
        padded = -(-self.most // 128) * 128
        made = Halves(
            self.work.room(("halves", width), 2 * width * padded),
            self.work.room(("scales", width), 4 * padded),
        )
        if self._halved.get(width) != name:
            self._halved[width] = name
            source, normed = self.norm_of(name)
            gate = None
            if name in self.waiting and normed is None:
                step = self.plan.made_by[name]
                source, up = step.reads
                gate = gate_of(step), self.values[up]
            products.halve(self.tape, self.values[source], made, norm=normed, gate=gate)
        return made

    def quantised(self, name: str) -> Quantised:
        """A value as bytes in groups with a scale; once for all products that read it."""
        x = self.values[name]
        made = Quantised.over(
            self.work.room(("bytes", x.width), Quantised.size(x.width, self.most)), x
        )
        if self._quantised.get(x.width) != name:
            self._quantised[x.width] = name
            quantise(self.tape, x, made)
        return made


def gate_of(step: Step) -> str:
    """The name of a gate in the products' kernels."""
    if step.node.op is Op.SILU_MUL:
        return "silu"
    return str(attributes(step.node)["approximation"])


def _embed(e: Emitter, step: Step) -> None:
    ids, table = step.reads
    if ids not in ("tokens", "positions"):
        raise BackendUnsupported(f"{step.node.name}: rows are looked up by token or position")
    embed(e.tape, e.work.matrices[table], e.values[step.out], ids)


def _norm(e: Emitter, step: Step) -> None:
    weights = [e.work.vectors[name] for name in step.reads[1:]]
    weight, bias, *_ = [*weights, None, None]
    norm(
        e.tape,
        "rms" if step.node.op is Op.RMS_NORM else "layer",
        e.values[step.reads[0]],
        e.values[step.out],
        epsilon=float(e.attrs(step)["epsilon"]),
        size=weight.size // 4 if weight else 0,
        weight=weight,
        bias=bias,
    )


def _matmul(e: Emitter, step: Step) -> None:
    name, weight = step.reads
    matrix, out = e.work.matrices[weight], e.values[step.out]
    added = Added(
        e.work.vectors[step.bias] if step.bias else None,
        e.values[step.residual] if step.residual else None,
    )
    if e.single and products.fits_one(e.tape.features, matrix.kind, matrix.k):
        source, normed = e.source(name, matrix)
        following = e.following(step.out, matrix)
        products.multiply_one(
            *(e.tape, source, matrix, out), norm=normed, added=added, following=following
        )
    elif e.coopmat and products.cooperative(matrix.kind, matrix.k):
        products.multiply_halves(e.tape, e.halves(name), matrix, out, added)
    else:
        x = e.quantised(name) if matrix.quantised else e.values[name]
        multiply(e.tape, x, matrix, out, added.bias, added.residual)


def _gate(e: Emitter, step: Step) -> None:
    out = e.values[step.out]
    if set(step.reads) <= e.waiting:
        gate, up = (e.plan.made_by[name] for name in step.reads)
        first, second = (e.work.matrices[s.reads[1]] for s in (gate, up))
        source, normed = e.source(gate.reads[0], first)
        if products.beside(first, second):
            following = e.following(step.out, first, gate=True)
            both = gate_of(step), second
            products.multiply_one(
                *(e.tape, source, first, out), norm=normed, gate=both, following=following
            )
            return
        made = [replace(out, region=e.work.room(name, out.region.size)) for name in step.reads]
        for matrix, product in zip((first, second), made, strict=True):
            products.multiply_one(e.tape, source, matrix, product, norm=normed)
        _gated(e, step, made[0], made[1])
        return
    x = e.values[step.reads[0]]
    _gated(e, step, x, e.operand(step.reads[1]) if len(step.reads) > 1 else None)


def _gated(e: Emitter, step: Step, x: Activation, other: Activation | Region | None) -> None:
    out = e.values[step.out]
    if step.node.op is Op.SILU_MUL:
        elementwise.silu_mul(e.tape, x, other, out)
    else:
        how = str(e.attrs(step)["approximation"])
        elementwise.gelu_mul(e.tape, x, other, out, approximation=how)


def _sum(e: Emitter, step: Step) -> None:
    record = elementwise.add if step.node.op is Op.ADD else elementwise.mul
    record(e.tape, e.values[step.reads[0]], e.operand(step.reads[1]), e.values[step.out])


def _softcap(e: Emitter, step: Step) -> None:
    x, out = e.values[step.reads[0]], e.values[step.out]
    elementwise.softcap(e.tape, x, out, cap=float(e.attrs(step)["cap"]))


def _scale(e: Emitter, step: Step) -> None:
    x, out = e.values[step.reads[0]], e.values[step.out]
    elementwise.scale(e.tape, x, out, factor=float(e.attrs(step)["factor"]))


def _rope(e: Emitter, step: Step) -> None:
    attrs = e.attrs(step)
    rope(
        e.tape,
        e.values[step.reads[0]],
        e.values[step.out],
        int(attrs["heads"]),
        e.work.table(attrs["frequencies"]),
        float(attrs["magnitude"]),
        str(attrs["style"]),
    )


def _attention(e: Emitter, step: Step) -> None:
    attrs = e.attrs(step)
    q, k, v = step.reads[:3]
    keys, values = (e.plan.state(name) for name in step.reads[3:5])
    shape = Heads(
        *(int(attrs["heads"]), int(attrs["kv_heads"]), keys.size, values.size),
        *(float(attrs["scale"]), bool(attrs["causal"])),
        *(int(attrs["window"]), float(attrs["softcap"])),
    )
    k_cache, v_cache = (e.work.cache(name) for name in step.reads[3:5])
    cache = Cache(k_cache, v_cache, keys.dtype, keys.capacity)
    rotation = None
    if q in e.waiting:
        turn, turned_k = (e.plan.made_by[name] for name in (q, k))
        how = e.attrs(turn)
        rotation = Rotation(
            e.work.table(how["frequencies"]), float(how["magnitude"]), str(how["style"])
        )
        q, k = turn.reads[0], turned_k.reads[0]
    sinks = e.work.vectors[step.reads[7]] if len(step.reads) == 8 else None
    queries, out = e.values[q], e.values[step.out]
    if e.single:
        shares = splits(e.tape.gpu.compute_units, shape, keys.capacity)
        attention_decode(
            *(e.tape, shape, cache, queries, e.values[k], e.values[v], out),
            scratch=e.work.room(("shares", shape), scratch_bytes(shape, shares)),
            shares=shares,
            rotation=rotation,
            sinks=sinks,
            following=e.coded(step.out) if codable(shape) else None,
        )
        return
    if rotation:
        room = e.work.room(("rotated", queries.width), 4 * queries.width * e.most)
        rotated = replace(queries, region=room)
        append(
            *(e.tape, shape, cache, e.values[k], e.values[v]),
            rotation=rotation,
            q=queries,
            rotated=rotated,
        )
        queries = rotated
    else:
        append(e.tape, shape, cache, e.values[k], e.values[v])
    attention(e.tape, shape, cache, queries, out, sinks=sinks)


def _experts(e: Emitter, step: Step) -> None:

    attrs = e.attrs(step)
    x, scores = (e.values[name] for name in step.reads[:2])
    experts(
        e.tape,
        x,
        scores,
        [e.work.matrices[name] for name in step.reads[2:5]],
        e.values[step.out],
        biases=[e.work.vectors[name] for name in step.reads[5:]],
        room=e.work.room,
        used=int(attrs["used"]),
        activation=str(attrs["activation"]),
        gating=str(attrs["gating"]),
        normalize=bool(attrs["normalize"]),
        factor=float(attrs["factor"]),
    )


def _select_rows(e: Emitter, step: Step) -> None:
    select_rows(e.tape, e.values[step.reads[0]], e.values[step.out])


EMITTERS: dict[Op, Callable[[Emitter, Step], None]] = {
    Op.EMBED: _embed,
    Op.RMS_NORM: _norm,
    Op.LAYER_NORM: _norm,
    Op.MATMUL: _matmul,
    Op.ADD: _sum,
    Op.MUL: _sum,
    Op.SILU_MUL: _gate,
    Op.GELU_MUL: _gate,
    Op.SOFTCAP: _softcap,
    Op.SCALE: _scale,
    Op.ROPE: _rope,
    Op.SELECT_ROWS: _select_rows,
    Op.ATTENTION: _attention,
    Op.EXPERTS: _experts,
}
