"""A graph's nodes as steps: what is added to a matrix product is added while it is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from forge.graph import Graph, Node, Op


@dataclass(frozen=True, slots=True)
class Step:
    """A node, perhaps with later additions in it: `reads` are its operands, `out` what it makes."""

    node: Node
    reads: tuple[str, ...]
    out: str
    bias: str = ""
    residual: str = ""

    @property
    def operands(self) -> tuple[str, ...]:
        """All that it reads."""
        return (*self.reads, *(name for name in (self.bias, self.residual) if name))


def steps(graph: Graph) -> list[Step]:
    """One step for each node that is not an addition to a matrix product made just for it.

    The product comes first in its sum, then a bias, then a residual, whatever the nodes' order.
    """
    uses = Counter(name for node in graph.nodes for name in node.inputs)
    uses.update(graph.outputs)
    reader = {name: node for node in graph.nodes for name in node.inputs}
    made = dict.fromkeys(graph.inputs, -1)
    made |= {node.name: index for index, node in enumerate(graph.nodes)}
    absorbed: set[str] = set()
    found: list[Step] = []
    for index, node in enumerate(graph.nodes):
        if node.name in absorbed:
            continue
        bias = residual = ""
        out = node.name
        while node.op is Op.MATMUL and not residual:
            sum_ = _only_sum(out, uses, reader)
            if sum_ is None:
                break
            (other,) = (name for name in sum_.inputs if name != out)
            if other in graph.weights and not bias:
                bias = other
            elif made.get(other, index) < index:
                residual = other
            else:
                break
            absorbed.add(sum_.name)
            out = sum_.name
        found.append(Step(node, node.inputs, out, bias, residual))
    return found


def _only_sum(name: str, uses: Counter[str], reader: dict[str, Node]) -> Node | None:
    """The addition that alone reads a value, if it adds something else to it."""
    node = reader.get(name)
    if uses[name] != 1 or node is None or node.op is not Op.ADD or len({*node.inputs}) != 2:
        return None
    return node
