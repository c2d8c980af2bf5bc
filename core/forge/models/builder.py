"""Writes a graph node by node, checking every weight against the model's file."""

from __future__ import annotations

from forge.errors import ModelError
from forge.graph import (
    ROWS,
    TOKENS,
    Attr,
    Graph,
    Node,
    Op,
    StateSpec,
    TensorSpec,
    WeightSpec,
)
from forge.models.hyperparameters import Hyperparameters


class GraphBuilder:
    """Collects nodes, weights and state; `layer` marks the nodes that follow."""

    def __init__(self, hp: Hyperparameters, *, context: int, slots: int, state_dtype: str) -> None:
        self.hp = hp
        self.layer = -1
        self._context, self._slots, self._state_dtype = context, slots, state_dtype
        self._nodes: list[Node] = []
        self._weights: dict[str, WeightSpec] = {}
        self._state: dict[str, StateSpec] = {}

    def has(self, tensor: str) -> bool:
        """Whether the file holds the tensor."""
        return tensor in self.hp.file.tensors

    def weight(
        self, tensor: str, shape: tuple[int, ...], rows: tuple[int, int] | None = None
    ) -> str:
        """Declare a weight (or `rows` of it) that must have this shape in the file."""
        found = self.hp.file.tensors.get(tensor)
        if found is None:
            raise ModelError(f"{self.hp.file.path}: tensor {tensor} is missing")
        if found.shape != shape:
            raise ModelError(
                f"{self.hp.file.path}: tensor {tensor} has shape {list(found.shape)}, "
                f"{self.hp.architecture}'s hyperparameters ask for {list(shape)}"
            )
        name = tensor if rows is None else f"{tensor}[{rows[0]}:{rows[1]}]"
        part = shape if rows is None else (rows[1] - rows[0], *shape[1:])
        self._weights[name] = WeightSpec(tensor, part, found.type.name.lower(), rows)
        return name

    def cache(self, name: str, heads: int, size: int) -> str:
        """Declare a key or value cache for the whole context."""
        spec = StateSpec(self._slots, heads, self._context, size, self._state_dtype)
        self._state[name] = spec
        return name

    def node(self, name: str, op: Op, *inputs: str, **attrs: Attr) -> str:
        """Append a node; its name is the name of its output."""
        full = f"blk.{self.layer}.{name}" if 0 <= self.layer < self.hp.layers else name
        self._nodes.append(Node(full, op, inputs, attrs, self.layer))
        return full

    def linear(self, name: str, x: str, tensor: str, shape: tuple[int, int]) -> str:
        """x times `tensor`.weight, plus `tensor`.bias where the file has one."""
        weight = self.weight(f"{tensor}.weight", shape)
        if not self.has(f"{tensor}.bias"):
            return self.node(name, Op.MATMUL, x, weight)
        product = self.node(f"{name}_product", Op.MATMUL, x, weight)
        return self.node(name, Op.ADD, product, self.weight(f"{tensor}.bias", shape[:1]))

    def graph(self, output: str) -> Graph:
        """The finished graph, validated."""
        graph = Graph(
            inputs={
                "tokens": TensorSpec((TOKENS,), "i32"),
                "positions": TensorSpec((TOKENS,), "i32"),
                "slots": TensorSpec((TOKENS,), "i32"),
                "rows": TensorSpec((ROWS,), "i32"),
            },
            weights=self._weights,
            state=self._state,
            nodes=tuple(self._nodes),
            outputs=(output,),
            name=self.hp.architecture,
        )
        graph.validate()
        return graph
