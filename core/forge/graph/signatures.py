"""The rules of every op: how many inputs, which attributes, and the shape of the output.

Activations are matrices [T, n], one row a token; heads lie side by side within a row.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from forge.errors import GraphError
from forge.graph.spec import ROWS, TOKENS, Attr, Dim, Op, StateSpec, TensorSpec, WeightSpec

Value = TensorSpec | WeightSpec | StateSpec
Attrs = Mapping[str, Attr]


@dataclass(frozen=True, slots=True)
class Signature:
    """One op's contract: `infer` returns the output's spec or raises GraphError."""

    inputs: tuple[str, ...]
    infer: Callable[[Sequence[Value], Attrs], TensorSpec]
    optional: int = 0
    required: Mapping[str, type] = field(default_factory=dict[str, type])
    defaults: Mapping[str, Attr] = field(default_factory=dict[str, Attr])


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise GraphError(message)


def _matrix(value: Value, name: str) -> tuple[Dim, int]:
    """The rows and columns of an activation."""
    _need(isinstance(value, TensorSpec), f"{name} must be an activation, not {value}")
    _need(value.dtype == "f32", f"{name} must be f32, not {value.dtype}")
    _need(len(value.shape) == 2, f"{name} must be a matrix, not {value}")
    rows, columns = value.shape
    if not isinstance(columns, int):
        raise GraphError(f"{name} needs a known width, not {columns}")
    return rows, columns


def _weight(value: Value, name: str, rank: int) -> tuple[int, ...]:
    if not isinstance(value, WeightSpec) or len(value.shape) != rank:
        raise GraphError(f"{name} must be a weight of rank {rank}, not {value}")
    return value.shape


def _index(value: Value, name: str, symbol: str) -> None:
    _need(value == TensorSpec((symbol,), "i32"), f"{name} must be i32[{symbol}], not {value}")


def _count(attrs: Attrs, name: str) -> int:
    """An attribute that counts something: at least 1."""
    value = attrs[name]
    if not isinstance(value, int) or value < 1:
        raise GraphError(f"attribute {name} is {value}, must be at least 1")
    return value


def _one_of(attrs: Attrs, name: str, known: tuple[str, ...]) -> None:
    _need(attrs[name] in known, f"{name} is {attrs[name]!r}, must be {' or '.join(known)}")


def _positive(attrs: Attrs, *names: str) -> None:
    for name in names:
        value = attrs[name]
        good = isinstance(value, int | float) and 0 < value < math.inf
        _need(good, f"attribute {name} is {value}, must be positive and finite")


def _embed(v: Sequence[Value], _: Attrs) -> TensorSpec:
    _index(v[0], "tokens", TOKENS)
    return TensorSpec((TOKENS, _weight(v[1], "table", 2)[1]))


def _norm(v: Sequence[Value], attrs: Attrs) -> TensorSpec:
    epsilon = attrs["epsilon"]
    good = isinstance(epsilon, float) and 0 <= epsilon < math.inf
    _need(good, f"attribute epsilon is {epsilon}, must be finite and not negative")
    rows, width = _matrix(v[0], "x")
    for value, name in zip(v[1:], ("weight", "bias"), strict=False):
        (size,) = _weight(value, name, 1)
        _need(size > 0 and width % size == 0, f"{name} of {size} does not divide the width {width}")
    return TensorSpec((rows, width))


def _matmul(v: Sequence[Value], _: Attrs) -> TensorSpec:
    rows, width = _matrix(v[0], "x")
    out, inner = _weight(v[1], "weight", 2)
    _need(inner == width, f"x has {width} columns, the weight {inner}")
    return TensorSpec((rows, out))


def _elementwise(v: Sequence[Value], _: Attrs) -> TensorSpec:
    rows, width = _matrix(v[0], "a")
    if isinstance(v[1], WeightSpec):
        (size,) = _weight(v[1], "b", 1)
        _need(size == width, f"a has {width} columns, b {size}")
    else:
        _need(_matrix(v[1], "b") == (rows, width), f"a is {v[0]}, b {v[1]}")
    return TensorSpec((rows, width))


def _gated(v: Sequence[Value], attrs: Attrs) -> TensorSpec:
    if "approximation" in attrs:
        _one_of(attrs, "approximation", ("tanh", "quick", "none"))
    return _elementwise(v, attrs) if len(v) == 2 else _unary(v, attrs)


def _unary(v: Sequence[Value], _: Attrs) -> TensorSpec:
    return TensorSpec(_matrix(v[0], "x"))


def _softcap(v: Sequence[Value], attrs: Attrs) -> TensorSpec:
    _positive(attrs, "cap")
    return _unary(v, attrs)


def _scale(v: Sequence[Value], attrs: Attrs) -> TensorSpec:
    factor = attrs["factor"]
    _need(isinstance(factor, float) and math.isfinite(factor), f"attribute factor is {factor}")
    return _unary(v, attrs)


def _rope(v: Sequence[Value], attrs: Attrs) -> TensorSpec:
    rows, width = _matrix(v[0], "x")
    _index(v[1], "positions", TOKENS)
    _need(rows == TOKENS, f"all tokens are rotated, not {v[0]}")
    heads, frequencies = _count(attrs, "heads"), attrs["frequencies"]
    _need(width % heads == 0, f"{heads} heads do not divide the width {width}")
    if not isinstance(frequencies, tuple) or not all(
        isinstance(f, float) and math.isfinite(f) for f in frequencies
    ):
        raise GraphError("attribute frequencies must be finite numbers")
    dims = 2 * len(frequencies)
    _need(0 < dims <= width // heads, f"{dims} rotated dimensions in a head of {width // heads}")
    _one_of(attrs, "style", ("norm", "neox"))
    _positive(attrs, "magnitude")
    return TensorSpec((rows, width))


def _attention(v: Sequence[Value], attrs: Attrs) -> TensorSpec:
    (rows, q), (_, k), (_, value) = (_matrix(x, n) for x, n in zip(v[:3], "qkv", strict=True))
    heads, kv_heads = _count(attrs, "heads"), _count(attrs, "kv_heads")
    _positive(attrs, "scale")
    for x, name in zip(v[:3], "qkv", strict=True):
        _need(_matrix(x, name)[0] == TOKENS, f"{name} must have a row for each token, not {x}")
    for limit in ("window", "softcap"):
        bound = attrs[limit]
        good = isinstance(bound, int | float) and 0 <= bound < math.inf
        _need(good, f"attribute {limit} is {bound}, must be 0 or more")
    _need(heads % kv_heads == 0, f"{heads} heads over {kv_heads} kv heads")
    _need(q % heads == 0 and k % kv_heads == 0, "q or k does not divide into its heads")
    _need(q // heads == k // kv_heads, f"q has heads of {q // heads}, k of {k // kv_heads}")
    _need(value % kv_heads == 0, f"v of {value} does not divide into {kv_heads} heads")
    for state, name, width in ((v[3], "keys", k), (v[4], "values", value)):
        if not isinstance(state, StateSpec):
            raise GraphError(f"{name} must be a state, not {state}")
        held = (state.heads, state.size)
        _need(
            held == (kv_heads, width // kv_heads),
            f"{name} must hold {kv_heads} heads of {width // kv_heads}, not {state}",
        )
    _index(v[5], "positions", TOKENS)
    _index(v[6], "slots", TOKENS)
    if len(v) == 8:
        _need(_weight(v[7], "sinks", 1) == (heads,), "sinks must have one value a head")
    return TensorSpec((rows, value // kv_heads * heads))


def _select_rows(v: Sequence[Value], _: Attrs) -> TensorSpec:
    rows, width = _matrix(v[0], "x")
    _need(rows == TOKENS, f"rows are selected from all tokens, not from {v[0]}")
    _index(v[1], "rows", ROWS)
    return TensorSpec((ROWS, width))


def _experts(v: Sequence[Value], attrs: Attrs) -> TensorSpec:
    rows, width = _matrix(v[0], "x")
    same, experts = _matrix(v[1], "scores")
    _need(same == rows, "x and scores must have the same rows")
    parts = ("gate", "up", "down")
    gate, up, down = (_weight(x, n, 3) for x, n in zip(v[2:5], parts, strict=True))
    _need(gate == up == (experts, gate[1], width), f"gate {gate} or up {up} does not fit")
    _need(down == (experts, width, gate[1]), f"down {down} does not fit gate {gate}")
    _need(len(v) in (5, 8), f"gate, up and down have each a bias or none, not {len(v) - 5}")
    for bias, weight, name in zip(v[5:], (gate, up, down), parts, strict=False):
        given = _weight(bias, f"{name}_bias", 2)
        _need(given == weight[:2], f"{name}_bias {given} does not fit {name} {weight}")
    _one_of(attrs, "activation", ("silu", "gelu", "swiglu_oai"))
    _one_of(attrs, "gating", ("softmax", "sigmoid", "softmax_selected"))
    _need(_count(attrs, "used") <= experts, f"{attrs['used']} of {experts} experts")
    return TensorSpec((rows, width))


_GATE: Attrs = {"activation": "silu", "gating": "softmax", "normalize": True, "factor": 1.0}
_ATTENTION: Attrs = {"causal": True, "window": 0, "softcap": 0.0}

SIGNATURES: dict[Op, Signature] = {
    Op.EMBED: Signature(("tokens", "table"), _embed),
    Op.RMS_NORM: Signature(("x", "weight"), _norm, 1, {"epsilon": float}),
    Op.LAYER_NORM: Signature(("x", "weight", "bias"), _norm, 2, {"epsilon": float}),
    Op.MATMUL: Signature(("x", "weight"), _matmul),
    Op.ADD: Signature(("a", "b"), _elementwise),
    Op.MUL: Signature(("a", "b"), _elementwise),
    Op.ROPE: Signature(
        ("x", "positions"),
        _rope,
        required={"heads": int, "frequencies": tuple},
        defaults={"style": "norm", "magnitude": 1.0},
    ),
    Op.ATTENTION: Signature(
        ("q", "k", "v", "keys", "values", "positions", "slots", "sinks"),
        _attention,
        1,
        {"heads": int, "kv_heads": int, "scale": float},
        _ATTENTION,
    ),
    Op.SILU_MUL: Signature(("gate", "up"), _gated, 1),
    Op.GELU_MUL: Signature(("gate", "up"), _gated, 1, defaults={"approximation": "tanh"}),
    Op.SOFTCAP: Signature(("x",), _softcap, required={"cap": float}),
    Op.SCALE: Signature(("x",), _scale, required={"factor": float}),
    Op.SELECT_ROWS: Signature(("x", "rows"), _select_rows),
    Op.EXPERTS: Signature(
        ("x", "scores", "gate", "up", "down", "gate_bias", "up_bias", "down_bias"),
        _experts,
        3,
        {"used": int},
        _GATE,
    ),
}


def infer(op: Op, values: Sequence[Value], attrs: Attrs) -> TensorSpec:
    """The output's spec of `op` on `values`; GraphError says which rule is broken."""
    signature = SIGNATURES.get(op)
    if signature is None:
        raise GraphError(f"{op!r} is no op")
    most, least = len(signature.inputs), len(signature.inputs) - signature.optional
    _need(least <= len(values) <= most, f"{op} takes {least} to {most} inputs, not {len(values)}")
    for name in signature.required:
        _need(name in attrs, f"{op} needs the attribute {name}")
    kinds = {**signature.required, **{n: type(v) for n, v in signature.defaults.items()}}
    for name, value in attrs.items():
        _need(name in kinds, f"{op} has no attribute {name}")
        kind = kinds[name]  # exactly: a bool is no count
        _need(type(value) is kind, f"attribute {name} is {value!r}, no {kind.__name__}")
    return signature.infer(values, {**signature.defaults, **attrs})
