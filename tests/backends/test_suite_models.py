"""The suite's models are alive: a bug of one kind of node costs far more than its bounds allow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from forge.gguf import open_gguf
from forge.graph import Graph, Node, Op
from forge.models import ARCHITECTURES
from forge.testing.suite.models import CONTEXT, TinyModel, bound
from forge.testing.truth import Truth, divergence

Change = Callable[[Node], Node]


def attrs(**values: Any) -> Change:
    return lambda node: replace(node, attrs={**node.attrs, **values})


def other_style(node: Node) -> Node:
    return attrs(style="neox" if node.attrs["style"] == "norm" else "norm")(node)


def sharper(node: Node) -> Node:
    return attrs(scale=float(node.attrs["scale"]) * 1.25)(node)


def unrotated(node: Node) -> Node:
    return attrs(frequencies=tuple(0.0 for _ in node.attrs["frequencies"]))(node)


def first_input(node: Node) -> Node:
    return Node(node.name, Op.SCALE, node.inputs[:1], {"factor": 1.0}, node.layer)


def swapped(node: Node) -> Node:
    return replace(node, inputs=node.inputs[::-1])


BUGS: dict[str, tuple[Op, str, Change]] = {
    "no rope": (Op.ROPE, "", unrotated),
    "no rope on keys": (Op.ROPE, "k_rope", unrotated),
    "the other pairs": (Op.ROPE, "", other_style),
    "sharper attention": (Op.ATTENTION, "", sharper),
    "a look ahead": (Op.ATTENTION, "", attrs(causal=False)),
    "a window": (Op.ATTENTION, "", attrs(window=8)),
    "a large epsilon": (Op.RMS_NORM, "", attrs(epsilon=0.1)),
    "gate and up swapped": (Op.SILU_MUL, "", swapped),
    "a residual lost": (Op.ADD, "attn_residual", first_input),
}


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request, tmp_path_factory) -> TinyModel:
    return TinyModel.make(tmp_path_factory.mktemp("alive"), request.param, "f16")


@pytest.mark.parametrize("bug", BUGS)
def test_a_bug_in_a_model_is_far_beyond_the_bounds(bug, model):
    op, ending, change = BUGS[bug]
    chosen = [n for n in model.graph.nodes if n.op is op and n.name.endswith(ending)]
    if not chosen:
        pytest.skip(f"{model.architecture} has no such node")
    nodes = tuple(change(node) if node in chosen else node for node in model.graph.nodes)
    graph: Graph = replace(model.graph, nodes=nodes)
    graph.validate()
    with open_gguf(model.path) as file:
        wrong = Truth(graph, file)
    (logits,) = wrong.run({"tokens": model.tokens}, range(CONTEXT)).values()
    cost = divergence(model.logits, logits)
    assert cost > 30 * bound("f16"), cost
