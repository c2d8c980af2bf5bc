"""The rules of every op: how many inputs, which attributes, and the shape of the output.

Activations are matrices [T, n], one row a token; heads lie side by side within a row.
"""

from __future__ import annotations

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
    required: Mapping[str, type | tuple[type, ...]] = field(default_factory=dict)
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


def _integer(attrs: Attrs, name: str) -> int:
    value = attrs[name]
    if not isinstance(value, int):
        raise GraphError(f"attribute {name} must be an integer")
    return value


def _embed(v: Sequence[Value], _: Attrs) -> TensorSpec:
    _index(v[0], "tokens", TOKENS)
    return TensorSpec((TOKENS, _weight(v[1], "table", 2)[1]))


def _norm(v: Sequence[Value], _: Attrs) -> TensorSpec:
    rows, width = _matrix(v[0], "x")
    for value, name in zip(v[1:], ("weight", "bias"), strict=False):
        (size,) = _weight(value, name, 1)
        _need(width % size == 0, f"{name} of {size} does not divide the width {width}")
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
    return _elementwise(v, attrs) if len(v) == 2 else _unary(v, attrs)


def _unary(v: Sequence[Value], _: Attrs) -> TensorSpec:
    return TensorSpec(_matrix(v[0], "x"))


def _rope(v: Sequence[Value], attrs: Attrs) -> TensorSpec:
    rows, width = _matrix(v[0], "x")
    _index(v[1], "positions", TOKENS)
    heads, frequencies = _integer(attrs, "heads"), attrs["frequencies"]
    _need(heads > 0 and width % heads == 0, f"{heads} heads do not divide the width {width}")
    _need(isinstance(frequencies, tuple) and len(frequencies) > 0, "frequencies must be a tuple")
    dims = 2 * len(frequencies) if isinstance(frequencies, tuple) else 0
    _need(dims <= width // heads, f"{dims} rotated dimensions in a head of {width // heads}")
    _need(attrs["style"] in ("norm", "neox"), f"style {attrs['style']!r} is not norm or neox")
    return TensorSpec((rows, width))


def _attention(v: Sequence[Value], attrs: Attrs) -> TensorSpec:
    (rows, q), (_, k), (_, value) = (_matrix(x, n) for x, n in zip(v[:3], "qkv", strict=True))
    heads, kv_heads = _integer(attrs, "heads"), _integer(attrs, "kv_heads")
    _need(kv_heads > 0 and heads % kv_heads == 0, f"{heads} heads over {kv_heads} kv heads")
    _need(q % heads == 0 and k % kv_heads == 0, "q or k does not divide into its heads")
    _need(q // heads == k // kv_heads, f"q has heads of {q // heads}, k of {k // kv_heads}")
    _need(value % kv_heads == 0, f"v of {value} does not divide into {kv_heads} heads")
    for state, name, width in ((v[3], "keys", k), (v[4], "values", value)):
        if not isinstance(state, StateSpec):
            raise GraphError(f"{name} must be a state, not {state}")
        held = (state.heads, state.size)
        _need(held == (kv_heads, width // kv_heads), f"{name} holds heads x size {held}")
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
    gate, up, down = (_weight(x, n, 3) for x, n in zip(v[2:], ("gate", "up", "down"), strict=True))
    _need(gate == up == (experts, gate[1], width), f"gate {gate} or up {up} does not fit")
    _need(down == (experts, width, gate[1]), f"down {down} does not fit gate {gate}")
    _need(0 < _integer(attrs, "used") <= experts, f"{attrs['used']} of {experts} experts")
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
    Op.SOFTCAP: Signature(("x",), _unary, required={"cap": float}),
    Op.SCALE: Signature(("x",), _unary, required={"factor": float}),
    Op.SELECT_ROWS: Signature(("x", "rows"), _select_rows),
    Op.EXPERTS: Signature(("x", "scores", "gate", "up", "down"), _experts, 0, {"used": int}, _GATE),
}


def infer(op: Op, values: Sequence[Value], attrs: Attrs) -> TensorSpec:
    """The output's spec of `op` on `values`; GraphError says which rule is broken."""
    signature = SIGNATURES[op]
    most, least = len(signature.inputs), len(signature.inputs) - signature.optional
    _need(least <= len(values) <= most, f"{op} takes {least} to {most} inputs, not {len(values)}")
    for name, kind in signature.required.items():
        _need(name in attrs, f"{op} needs the attribute {name}")
        _need(isinstance(attrs[name], kind), f"attribute {name} has the wrong type")
    unknown = set(attrs) - set(signature.required) - set(signature.defaults)
    _need(not unknown, f"{op} has no attribute {', '.join(sorted(unknown))}")
    return signature.infer(values, {**signature.defaults, **attrs})
