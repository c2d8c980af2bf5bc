"""One function an op: what it records, by what an emitter knows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from forge.backend import BackendUnsupported, Op, Step
from forge_gpu.emit import Emitter, gate_of
from forge_gpu.kv import Cache
from forge_gpu.memory import Region
from forge_gpu.steps import attention_coopmat, elementwise, products
from forge_gpu.steps.attention import Heads, Rotation, append, attention
from forge_gpu.steps.attention_decode import (
    attention_decode,
    codable,
    scratch_bytes,
    splits,
)
from forge_gpu.steps.embed import embed
from forge_gpu.steps.experts import experts
from forge_gpu.steps.norms import norm
from forge_gpu.steps.products import Added
from forge_gpu.steps.rows import rope, select_rows
from forge_gpu.steps.tiles import multiply
from forge_gpu.tape import Activation


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
    elif e.coopmat and products.cooperative(matrix.kind, matrix.k) and not e.plan.scores(step):
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
    if attention_coopmat.cooperative(e.tape.features, shape, cache):
        left = e.work.room(("left", shape), attention_coopmat.left_bytes(shape, e.most))
        attention_coopmat.attention_coopmat(
            *(e.tape, shape, cache, queries, out), left=left, sinks=sinks
        )
    else:
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


def record(emitter: Emitter, steps: Sequence[Step], before: Callable[[Step], None]) -> None:
    """All steps that do not wait for a reader; `before` hears of each."""
    for step in steps:
        if step.out not in emitter.waiting:
            before(step)
            emitter.tape.label = step.out
            EMITTERS[step.node.op](emitter, step)
