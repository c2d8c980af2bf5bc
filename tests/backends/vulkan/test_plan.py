"""A graph's steps: what is added within a product, what waits for its reader, and what must not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.backends.vulkan.tiny_models import graph_of, tiny

from forge.backend import Graph, Node, Op, TensorSpec, WeightSpec
from forge.graph import TOKENS
from forge_gpu.plan import Plan

INPUTS = {
    "x": TensorSpec((TOKENS, 8)),
    "positions": TensorSpec((TOKENS,), "i32"),
}
RMS = {"epsilon": 1e-5}


def plan_of(nodes: Sequence[Node], *outputs: str) -> Plan:
    weights = {
        name: WeightSpec(name, (8,) if name.startswith("v") else (8, 8), "f32")
        for node in nodes
        for name in node.inputs
        if name[0] in "vw"
    }
    return Plan(Graph(INPUTS, weights, {}, tuple(nodes), outputs or (nodes[-1].name,)))


def matmul(out: str, x: str, weight: str) -> Node:
    return Node(out, Op.MATMUL, (x, weight))


def add(out: str, *inputs: str) -> Node:
    return Node(out, Op.ADD, inputs)


def norm(out: str, *inputs: str) -> Node:
    return Node(out, Op.RMS_NORM, inputs, RMS)


def silu(out: str, *inputs: str) -> Node:
    return Node(out, Op.SILU_MUL, inputs)


def steps(plan: Plan) -> list[tuple[str, str, str]]:
    return [(step.out, step.bias, step.residual) for step in plan.steps]


def test_a_bias_and_a_residual_are_added_in_their_product() -> None:
    plan = plan_of([matmul("a", "x", "w"), add("b", "a", "v"), add("c", "x", "b")])
    assert steps(plan) == [("c", "v", "x")]


def test_a_residual_that_is_not_there_yet_is_added_by_itself() -> None:
    nodes = [matmul("a", "x", "w"), norm("later", "x", "v"), add("c", "a", "later")]
    assert steps(plan_of(nodes)) == [("a", "", ""), ("later", "", ""), ("c", "", "")]


def test_a_product_that_somebody_else_reads_stays_what_it_is() -> None:
    nodes = [matmul("a", "x", "w"), add("b", "a", "x"), add("c", "a", "b")]
    assert [out for out, *_ in steps(plan_of(nodes))] == ["a", "b", "c"]
    nodes = [matmul("a", "x", "w"), add("b", "a", "x")]
    assert [out for out, *_ in steps(plan_of(nodes, "a", "b"))] == ["a", "b"]


def test_a_product_added_to_itself_is_no_residual() -> None:
    assert steps(plan_of([matmul("a", "x", "w"), add("b", "a", "a")])) == [
        ("a", "", ""),
        ("b", "", ""),
    ]


def test_of_two_products_in_a_sum_the_later_one_adds_the_earlier() -> None:
    nodes = [matmul("a", "x", "w"), matmul("b", "x", "w2"), add("c", "a", "b")]
    assert steps(plan_of(nodes)) == [("a", "", ""), ("c", "", "a")]


def test_a_second_bias_and_a_second_residual_are_added_by_themselves() -> None:
    nodes = [matmul("a", "x", "w"), add("b", "a", "v"), add("c", "b", "v2")]
    assert steps(plan_of(nodes)) == [("b", "v", ""), ("c", "", "")]
    nodes = [matmul("a", "x", "w"), add("b", "a", "x"), add("c", "b", "x")]
    assert steps(plan_of(nodes)) == [("b", "", "x"), ("c", "", "")]


def takes(*outs: str):
    return lambda step: not outs or step.out in outs


def test_a_norm_waits_for_products_that_can_make_it_and_for_nobody_else() -> None:
    both = plan_of([norm("n", "x", "v"), matmul("a", "n", "w"), matmul("b", "n", "w2")], "a", "b")
    assert both.waiting(takes(), pairs=False) == {"n"}
    assert both.waiting(takes("a"), pairs=False) == frozenset()
    read = plan_of([norm("n", "x", "v"), matmul("a", "n", "w"), add("b", "n", "a")])
    assert read.waiting(takes(), pairs=False) == frozenset()
    kept = plan_of([norm("n", "x", "v"), matmul("a", "n", "w")], "n", "a")
    assert kept.waiting(takes(), pairs=False) == frozenset()


def test_a_norm_that_is_also_its_products_residual_does_not_wait() -> None:
    plan = plan_of([norm("n", "x", "v"), matmul("a", "n", "w"), add("b", "a", "n")])
    assert steps(plan)[-1] == ("b", "", "n")
    assert plan.waiting(takes(), pairs=True) == frozenset()


def test_a_norm_of_heads_does_not_wait() -> None:
    weights = {"v": WeightSpec("v", (4,), "f32"), "w": WeightSpec("w", (8, 8), "f32")}
    nodes = (norm("n", "x", "v"), matmul("a", "n", "w"))
    plan = Plan(Graph(INPUTS, weights, {}, nodes, ("a",)))
    assert plan.waiting(takes(), pairs=False) == frozenset()


GATED = [matmul("g", "x", "w"), matmul("u", "x", "w2"), silu("s", "g", "u"), matmul("d", "s", "w3")]


def test_a_gate_makes_its_two_products_or_waits_for_its_reader() -> None:
    plan = plan_of(GATED)
    assert plan.waiting(takes(), pairs=True) == {"g", "u"}
    assert plan.waiting(takes(), pairs=False) == {"s"}
    assert plan.pairs == [("w", "w2")]


@pytest.mark.parametrize(
    "nodes",
    [
        pytest.param([*GATED[:2], silu("s", "g", "u"), add("d", "s", "g")], id="read again"),
        pytest.param(
            [matmul("g", "x", "w"), norm("n", "x", "v"), matmul("u", "n", "w2"), *GATED[2:]],
            id="of two values",
        ),
        pytest.param([matmul("g", "x", "w"), silu("s", "g", "g"), GATED[3]], id="of itself"),
        pytest.param(
            [matmul("g", "x", "w"), matmul("m", "x", "w2"), add("u", "m", "v"), *GATED[2:]],
            id="with a bias",
        ),
        pytest.param(
            [
                *GATED[:2],
                Node("s", Op.GELU_MUL, ("g", "u"), {"approximation": "none"}),
                GATED[3],
            ],
            id="exact gelu",
        ),
    ],
)
def test_products_that_are_no_plain_pair_are_made_by_themselves(nodes: list[Node]) -> None:
    plan = plan_of(nodes)
    assert plan.waiting(takes(), pairs=True) & {"g", "u"} == frozenset()
    assert plan.pairs == []


def test_a_gate_of_products_that_the_kernel_does_not_take_is_made_by_itself() -> None:
    assert plan_of(GATED).waiting(takes("g", "d"), pairs=True) == frozenset()


def test_what_waits_keeps_its_operands_alive_until_its_reader_is_done() -> None:
    nodes = [norm("n", "x", "v"), matmul("a", "n", "w"), silu("s", "a"), matmul("b", "n", "w2")]
    plan = plan_of([*nodes, add("c", "b", "s")])
    assert plan.last_uses(plan.steps, frozenset())["x"] == 0
    waits = plan.waiting(takes(), pairs=False)
    assert waits == {"n"}
    last = plan.last_uses(plan.steps, waits)
    readers = [i for i, step in enumerate(plan.steps) if "n" in step.operands]
    assert last["x"] == last["n"] == max(readers) > 1


@pytest.mark.parametrize(
    ("architecture", "kernels"), [("llama", 7), ("qwen2", 7), ("gemma3", 13), ("gpt2", 10)]
)
def test_a_layer_of_one_token_takes_few_kernels(
    tmp_path: Path, architecture: str, kernels: int
) -> None:
    """As many as its products and attention, and norms that no product can make for itself."""
    plan = Plan(graph_of(tiny(tmp_path, architecture, layers=2)))
    waits = plan.waiting(takes(), pairs=True)
    first = [s for s in plan.steps if s.node.layer == 0 and s.out not in waits]
    assert len(first) <= kernels
    assert {s.node.op for s in plan.steps if s.out in waits} <= {Op.RMS_NORM, Op.ROPE, Op.MATMUL}
