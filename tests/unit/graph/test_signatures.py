"""Every way in which a node can break its op's rules is an error that names the node."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from forge.errors import GraphError
from forge.graph import (
    SIGNATURES,
    TOKENS,
    Graph,
    Node,
    Op,
    StateSpec,
    TensorSpec,
    WeightSpec,
)

Spec = TensorSpec | WeightSpec | StateSpec
INDEX = TensorSpec((TOKENS,), "i32")
ROPE: dict[str, Any] = {"heads": 4, "frequencies": (1.0, 0.5)}
ATTENTION: dict[str, Any] = {"heads": 4, "kv_heads": 2, "scale": 0.5}


def acts(width: int, rows: str = TOKENS) -> TensorSpec:
    return TensorSpec((rows, width))


def weight(*shape: int, dtype: str = "f32", rows: tuple[int, int] | None = None) -> WeightSpec:
    return WeightSpec("tensor", shape, dtype, rows)


def cache(heads: int = 2, size: int = 4) -> StateSpec:
    return StateSpec(1, heads, 8, size)


# For each op, inputs and attributes that are right.
GOOD: dict[Op, tuple[list[Spec], dict[str, Any], tuple[Any, ...]]] = {
    Op.EMBED: ([INDEX, weight(10, 16)], {}, ("T", 16)),
    Op.RMS_NORM: ([acts(16), weight(4)], {"epsilon": 1e-5}, ("T", 16)),
    Op.LAYER_NORM: ([acts(16), weight(16), weight(16)], {"epsilon": 1e-5}, ("T", 16)),
    Op.MATMUL: ([acts(16), weight(5, 16)], {}, ("T", 5)),
    Op.ADD: ([acts(16), acts(16)], {}, ("T", 16)),
    Op.MUL: ([acts(16), weight(16)], {}, ("T", 16)),
    Op.ROPE: ([acts(16), INDEX], ROPE, ("T", 16)),
    Op.ATTENTION: (
        [acts(16), acts(8), acts(6), cache(), cache(2, 3), INDEX, INDEX, weight(4)],
        ATTENTION,
        ("T", 12),
    ),
    Op.SILU_MUL: ([acts(16), acts(16)], {}, ("T", 16)),
    Op.GELU_MUL: ([acts(16)], {"approximation": "none"}, ("T", 16)),
    Op.SOFTCAP: ([acts(16)], {"cap": 30.0}, ("T", 16)),
    Op.SCALE: ([acts(16)], {"factor": -2.0}, ("T", 16)),
    Op.SELECT_ROWS: ([acts(16), TensorSpec(("R",), "i32")], {}, ("R", 16)),
    Op.EXPERTS: (
        [
            *(acts(16), acts(3), weight(3, 6, 16), weight(3, 6, 16), weight(3, 16, 6)),
            *(weight(3, 6), weight(3, 6), weight(3, 16)),
        ],
        {"used": 2},
        ("T", 16),
    ),
}


def graph_of(op: Any, values: list[Spec], attrs: Mapping[str, Any]) -> Graph:
    named = {f"v{i}": value for i, value in enumerate(values)}

    def of(kind: type) -> dict[str, Any]:
        return {name: value for name, value in named.items() if isinstance(value, kind)}

    node = Node("culprit", op, tuple(named), attrs, 0)
    return Graph(of(TensorSpec), of(WeightSpec), of(StateSpec), (node,), ("culprit",))


def refused(graph: Graph, *words: str) -> str:
    with pytest.raises(GraphError) as caught:
        graph.validate()
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    for word in words:
        assert word in message
    return message


def test_every_op_has_a_signature_and_a_good_example() -> None:
    assert set(SIGNATURES) == set(Op) == set(GOOD)


@pytest.mark.parametrize("op", Op)
def test_a_right_node_has_the_shape_that_its_op_gives(op: Op) -> None:
    values, attrs, shape = GOOD[op]
    graph = graph_of(op, values, attrs)
    assert graph.validate()["culprit"] == TensorSpec(shape)


@pytest.mark.parametrize("op", Op)
def test_too_few_and_too_many_inputs_are_refused(op: Op) -> None:
    values, attrs, _ = GOOD[op]
    signature = SIGNATURES[op]
    least = len(signature.inputs) - signature.optional
    refused(graph_of(op, values[: least - 1], attrs), "node culprit", f"not {least - 1}")
    most = len(signature.inputs)
    many = [*values, *[acts(16)] * (most + 1 - len(values))]
    refused(graph_of(op, many, attrs), "node culprit", f"not {most + 1}")


@pytest.mark.parametrize(("op", "at"), [(op, i) for op in Op for i in range(len(GOOD[op][0]))])
def test_an_input_of_a_wrong_kind_shape_or_type_is_refused(op: Op, at: int) -> None:
    values, attrs, _ = GOOD[op]
    wrong: list[Spec] = [
        TensorSpec((TOKENS, 7)),
        TensorSpec((TOKENS, 16), "i32"),
        TensorSpec((16,)),
        TensorSpec((TOKENS, 16, 2)),
        TensorSpec((TOKENS, "n")),
        weight(7),
        weight(7, 7),
        weight(2, 2, 2),
        cache(5, 5),
    ]
    free_width = {  # alone, any activation will do
        Op.GELU_MUL: (0, 7), Op.SOFTCAP: (0, 7), Op.SCALE: (0, 7), Op.SELECT_ROWS: (0, 7),
    }  # fmt: skip
    for value in wrong:
        if value == TensorSpec((TOKENS, free_width.get(op, (-1, 0))[1])) and at == 0:
            continue
        if (op, at, value) == (Op.EMBED, 1, weight(7, 7)):  # any table will do
            continue
        if (op, at, value) == (Op.MATMUL, 1, weight(7, 7)):
            assert "16 columns, the weight 7" in refused(graph_of(op, [values[0], value], attrs))
        refused(graph_of(op, [*values[:at], value, *values[at + 1 :]], attrs), "node culprit")


@pytest.mark.parametrize("op", Op)
def test_a_missing_or_unknown_attribute_is_refused(op: Op) -> None:
    values, attrs, _ = GOOD[op]
    refused(graph_of(op, values, {**attrs, "colour": 1}), "node culprit", "no attribute colour")
    for name in SIGNATURES[op].required:
        without = {key: value for key, value in attrs.items() if key != name}
        refused(graph_of(op, values, without), "node culprit", f"needs the attribute {name}")


NAMES = [(op, name) for op in Op for name in (*SIGNATURES[op].required, *SIGNATURES[op].defaults)]


@pytest.mark.parametrize(("op", "name"), NAMES)
def test_an_attribute_of_a_wrong_type_is_refused(op: Op, name: str) -> None:
    values, attrs, _ = GOOD[op]
    known = {**SIGNATURES[op].defaults, **attrs}
    for value in (True, 1, 0.5, "word", (1.0,), None):
        if type(value) is not type(known[name]):
            refused(graph_of(op, values, {**attrs, name: value}), "node culprit", name)


BAD: list[tuple[Op, dict[str, Any], str]] = [
    (Op.RMS_NORM, {"epsilon": math.nan}, "epsilon"),
    (Op.RMS_NORM, {"epsilon": -1.0}, "epsilon"),
    (Op.LAYER_NORM, {"epsilon": math.inf}, "epsilon"),
    (Op.ROPE, {"heads": 0}, "heads"),
    (Op.ROPE, {"heads": -4}, "heads"),
    (Op.ROPE, {"heads": 3}, "3 heads do not divide"),
    (Op.ROPE, {"frequencies": ()}, "0 rotated dimensions"),
    (Op.ROPE, {"frequencies": (1.0, 1.0, 1.0)}, "6 rotated dimensions in a head of 4"),
    (Op.ROPE, {"frequencies": (1.0, math.nan)}, "frequencies"),
    (Op.ROPE, {"frequencies": (1.0, "x")}, "frequencies"),
    (Op.ROPE, {"style": "other"}, "style is 'other'"),
    (Op.ROPE, {"magnitude": 0.0}, "magnitude"),
    (Op.ATTENTION, {"heads": 0}, "heads"),
    (Op.ATTENTION, {"kv_heads": 0}, "kv_heads"),
    (Op.ATTENTION, {"kv_heads": 3}, "4 heads over 3 kv heads"),
    (Op.ATTENTION, {"heads": 2}, "q has heads of 8, k of 4"),
    (Op.ATTENTION, {"heads": 32}, "does not divide"),
    (Op.ATTENTION, {"scale": math.inf}, "scale"),
    (Op.ATTENTION, {"window": -1}, "window"),
    (Op.ATTENTION, {"softcap": math.nan}, "softcap"),
    (Op.GELU_MUL, {"approximation": "sigmoid"}, "approximation"),
    (Op.SOFTCAP, {"cap": 0.0}, "cap"),
    (Op.SCALE, {"factor": math.nan}, "factor"),
    (Op.EXPERTS, {"used": 0}, "used"),
    (Op.EXPERTS, {"used": 4}, "4 of 3 experts"),
    (Op.EXPERTS, {"gating": "max"}, "gating"),
    (Op.EXPERTS, {"activation": "relu"}, "activation"),
]


@pytest.mark.parametrize(("op", "attrs", "words"), BAD)
def test_an_attribute_without_sense_is_refused(op: Op, attrs: dict[str, Any], words: str) -> None:
    values, good, _ = GOOD[op]
    refused(graph_of(op, values, {**good, **attrs}), "node culprit", words)


def test_the_rows_of_attention_and_rope_are_all_the_tokens() -> None:
    for op, at in ((Op.ROPE, 0), (Op.ATTENTION, 0), (Op.ATTENTION, 1), (Op.SELECT_ROWS, 0)):
        values, attrs, _ = GOOD[op]
        given = values[at]
        assert isinstance(given, TensorSpec)
        few = replace(given, shape=("R", given.shape[1]))
        refused(graph_of(op, [*values[:at], few, *values[at + 1 :]], attrs), "node culprit")


def test_a_word_that_is_no_op_is_refused() -> None:
    refused(graph_of("convolve", [acts(16)], {}), "node culprit", "'convolve'")
