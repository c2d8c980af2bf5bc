"""Writes a graph node by node, checking every weight against the model's file."""

from __future__ import annotations

import re

from forge.errors import GraphError, ModelError, UnsupportedModel
from forge.gguf.errors import show
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

# Rotary tables that converters wrote and no reader uses: the frequencies follow from the metadata.
_IGNORED = re.compile(r"(blk\.\d+\.)?(rope_freqs|rope_factors_(long|short)|attn_rot_embd)\.weight")


class GraphBuilder:
    """Collects nodes, weights and state; `layer` marks the nodes that follow."""

    def __init__(self, hp: Hyperparameters, *, context: int, slots: int, state_dtype: str) -> None:
        self.hp = hp
        self.layer = -1
        self.context, self._slots, self._state_dtype = context, slots, state_dtype
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
        self._check(tensor, shape)
        name = tensor if rows is None else f"{tensor}[{rows[0]}:{rows[1]}]"
        part = shape if rows is None else (rows[1] - rows[0], *shape[1:])
        self._weights[name] = WeightSpec(tensor, part, self.hp.readable(tensor), rows)
        return name

    def single(self, tensor: str, shape: tuple[int, ...]) -> str:
        """Declare a weight of this shape as the only one of a stack: [1, *shape]."""
        one = (1, *shape)
        self._check(tensor, one if self.hp.shape(tensor) == one else shape)
        self._weights[tensor] = WeightSpec(tensor, one, self.hp.readable(tensor))
        return tensor

    def _check(self, tensor: str, shape: tuple[int, ...]) -> None:
        found = self.hp.shape(tensor)
        if found is None:
            raise ModelError(f"{self.hp.file.path}: tensor {tensor} is missing")
        if found != shape:
            raise ModelError(
                f"{self.hp.file.path}: tensor {tensor} has shape {list(found)}, "
                f"{self.hp.architecture}'s hyperparameters ask for {list(shape)}"
            )

    def cache(self, name: str, heads: int, size: int) -> str:
        """Declare a key or value cache for the whole context."""
        spec = StateSpec(self._slots, heads, self.context, size, self._state_dtype)
        self._state[name] = spec
        return name

    def node(self, name: str, op: Op, *inputs: str, **attrs: Attr) -> str:
        """Append a node; its name is the name of its output."""
        full = f"blk.{self.layer}.{name}" if 0 <= self.layer < self.hp.layers else name
        self._nodes.append(Node(full, op, inputs, attrs, self.layer))
        return full

    def linear(
        self,
        name: str,
        x: str,
        tensor: str,
        shape: tuple[int, int],
        rows: tuple[int, int] | None = None,
    ) -> str:
        """x times `tensor`.weight, plus `tensor`.bias where the file has one; or rows of both."""
        weight = self.weight(f"{tensor}.weight", shape, rows)
        if not self.has(f"{tensor}.bias"):
            return self.node(name, Op.MATMUL, x, weight)
        product = self.node(f"{name}_product", Op.MATMUL, x, weight)
        return self.node(name, Op.ADD, product, self.weight(f"{tensor}.bias", shape[:1], rows))

    def norm(self, name: str, op: Op, x: str, tensor: str, size: int) -> str:
        """x normalised over every run of `size`, by `tensor`.weight and .bias."""
        weights = [self.weight(f"{tensor}.weight", (size,))]
        if op is Op.LAYER_NORM:
            weights += [self.weight(f"{tensor}.bias", (size,))]
        kind = "layer_norm" if op is Op.LAYER_NORM else "layer_norm_rms"
        epsilon = self.hp.norm_epsilon(f"attention.{kind}_epsilon")
        return self.node(name, op, x, *weights, epsilon=epsilon)

    def scaled(self, name: str, x: str, factor: float) -> str:
        """x times a constant; x itself if that is 1."""
        return x if factor == 1 else self.node(name, Op.SCALE, x, factor=factor)

    def capped(self, name: str, x: str, cap: float) -> str:
        """x bounded smoothly; x itself if the cap is 0."""
        return self.node(name, Op.SOFTCAP, x, cap=cap) if cap else x

    def graph(self, output: str) -> Graph:
        """The finished graph, validated; it uses every tensor of the file."""
        self._check_all_used()
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
        try:
            graph.validate()
        except GraphError as error:  # hyperparameters that do not go together
            raise ModelError(f"{self.hp.file.path}: {error}") from error
        return graph

    def _check_all_used(self) -> None:
        """A tensor left over means that the model computes something that this graph does not."""
        used = {spec.tensor for spec in self._weights.values()}
        for tensor in self.hp.file.tensors:
            if tensor not in used and not _IGNORED.fullmatch(tensor):
                raise UnsupportedModel(
                    f"{self.hp.file.path}: tensor {show(tensor)} has no place in "
                    f"{self.hp.architecture} with {self.hp.layers} layers"
                )
