"""Puts the counting into a template's syntax tree.

Calls, filters, tests and arithmetic pass through the environment, which counts them as they happen.
What jinja2 compiles to plain Python is rewritten here: every body that may run many times starts
with a charge for what it holds, and comparisons, concatenations, slices and dictionary keys go
through functions of the environment.
"""

from __future__ import annotations

from typing import Any, NoReturn

from jinja2 import Environment, nodes
from jinja2.exceptions import TemplateSyntaxError
from jinja2.visitor import NodeTransformer

from forge.template.budget import MAX_NODES, LimitExceeded

# Steps a node costs besides those of its parts: about 0.1 µs each.
COSTS: dict[type[nodes.Node], int] = {
    nodes.Call: 10,
    nodes.Filter: 10,
    nodes.Test: 8,
    nodes.Compare: 10,
    nodes.Concat: 10,
    nodes.Getattr: 5,
    nodes.Getitem: 5,
    nodes.Output: 5,
    nodes.For: 20,
    nodes.Macro: 10,
    nodes.CallBlock: 20,
}
REFUSED: dict[type[nodes.Node], str] = {
    nodes.Include: "include",
    nodes.Import: "import",
    nodes.FromImport: "from",
    nodes.Extends: "extends",
    nodes.ScopedEvalContextModifier: "autoescape",
}


def counted(template: nodes.Template, environment: Environment) -> nodes.Template:
    """`template`, rewritten to charge the environment's budget for what it does."""
    if sum(1 for _ in template.find_all(nodes.Node)) > MAX_NODES:
        raise LimitExceeded(f"it has more than {MAX_NODES} parts")
    _Counting().visit(template)
    template.set_environment(environment)
    return template


class _Counting(NodeTransformer):
    """Puts a charge at the start of every body, and around what escapes the environment."""

    def visit_Template(self, node: nodes.Template) -> nodes.Template:  # noqa: N802  jinja2's protocol
        self._charge(node)
        return node

    visit_Macro = visit_Block = visit_CallBlock = visit_Template  # noqa: N815

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802
        if node.test is not None:
            cost = _call("counted", nodes.Const(20 + _cost(node.test)[0]), nodes.Const(0))
            node.test = nodes.And(cost, node.test)
        self._charge(node)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        return _call("joined", *node.nodes).set_lineno(node.lineno)

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        node.expr = _weighed_node(node.expr)
        for operand in node.ops:
            operand.expr = _weighed_node(operand.expr)
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = _call("sliced", node.node)
        return node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        for pair in node.items:
            pair.key = _weighed_node(pair.key)
        return node

    def _refuse(self, node: nodes.Node) -> NoReturn:
        name = REFUSED[type(node)]
        raise TemplateSyntaxError(f"{{% {name} %}} has no place in a chat template", node.lineno)

    visit_Include = visit_Import = visit_FromImport = visit_Extends = _refuse  # noqa: N815
    visit_ScopedEvalContextModifier = _refuse  # noqa: N815

    def _charge(self, node: Any) -> None:
        parts = [_cost(part) for part in node.body]
        steps, characters = 20 + sum(part[0] for part in parts), sum(part[1] for part in parts)
        self.generic_visit(node)
        charge = _call("counted", nodes.Const(steps), nodes.Const(characters))
        node.body.insert(0, nodes.ExprStmt(charge).set_lineno(node.lineno or 1))


def _call(name: str, *args: nodes.Expr) -> nodes.Call:
    return nodes.Call(nodes.EnvironmentAttribute(name), list(args), [], None, None)


def _weighed_node(node: nodes.Expr) -> nodes.Expr:
    return node if isinstance(node, nodes.Const) else _call("weighed", node)


def _cost(node: nodes.Node) -> tuple[int, int]:
    """Steps, and characters of literal text, of running `node` once, without bodies of its own."""
    steps, characters = COSTS.get(type(node), 5 if isinstance(node, nodes.BinExpr) else 1), 0
    if isinstance(node, nodes.TemplateData):
        characters = len(node.data)
    if isinstance(node, nodes.Macro | nodes.CallBlock | nodes.Block):
        return steps, 0
    if isinstance(node, nodes.For):
        branches: list[list[nodes.Node]] = [[node.iter], node.else_]
        return _sum(steps, characters, [part for branch in branches for part in branch])
    if isinstance(node, nodes.If):
        ways = [node.body, node.else_, *([elif_.test, *elif_.body] for elif_ in node.elif_)]
        costs = [_sum(0, 0, way) for way in ways]
        steps, characters = _sum(steps + len(node.elif_), characters, [node.test])
        return steps + max(c[0] for c in costs), characters + max(c[1] for c in costs)
    return _sum(steps, characters, list(node.iter_child_nodes()))


def _sum(steps: int, characters: int, parts: list[nodes.Node]) -> tuple[int, int]:
    for part in parts:
        cost = _cost(part)
        steps, characters = steps + cost[0], characters + cost[1]
    return steps, characters
