"""The execution graph: what to compute, never where or how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from forge.errors import GraphError
from forge.graph.signatures import Value, infer
from forge.graph.spec import Node, Op, StateSpec, TensorSpec, WeightSpec
from forge.graph.text import as_text


@dataclass(frozen=True)  # no slots: what is found out once is kept beside the fields
class Graph:
    """One stage of a model: tokens or a hidden state in, logits or a hidden state out.

    Flat and topological: every name is an input, a weight, a state or an earlier node. The inputs
    `positions`, `slots` and `rows` are bound by `Executable.run`'s arguments of the same names.
    """

    inputs: Mapping[str, TensorSpec]
    weights: Mapping[str, WeightSpec]
    state: Mapping[str, StateSpec]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    name: str = field(default="graph", compare=False)

    def validate(self) -> dict[str, Value]:
        """Check every rule and return the spec of every value; GraphError names the culprit."""
        return dict(self._validated)  # computing it takes milliseconds, and all ask for it

    @cached_property
    def _validated(self) -> dict[str, Value]:
        names = [*self.inputs, *self.weights, *self.state, *(node.name for node in self.nodes)]
        for name, times in Counter(names).items():
            if times > 1:
                raise GraphError(f"{self.name}: {name} is defined {times} times")
        specs: dict[str, Value] = {**self.inputs, **self.weights, **self.state}
        for name, spec in specs.items():
            if fault := spec.fault():
                raise GraphError(f"{self.name}: {name}: {fault}")
        written: dict[str, str] = {}
        layer = -1
        for node in self.nodes:
            missing = [name for name in node.inputs if name not in specs]
            if missing:
                raise GraphError(
                    f"{self.name}: node {node.name}: no value {', '.join(missing)} yet"
                )
            if node.layer < layer:
                raise GraphError(f"{self.name}: node {node.name}: layer {node.layer} after {layer}")
            layer = node.layer
            for name in self.state.keys() & node.inputs:
                owner = written.setdefault(name, node.name)
                if owner != node.name or node.inputs.count(name) > 1:
                    raise GraphError(
                        f"{self.name}: node {node.name}: state {name} is already that of {owner}"
                    )
            try:
                specs[node.name] = infer(node.op, [specs[n] for n in node.inputs], node.attrs)
            except GraphError as error:
                raise GraphError(f"{self.name}: node {node.name}: {error}") from None
        computed = {node.name for node in self.nodes}
        for name in self.outputs:
            if name not in computed:
                raise GraphError(f"{self.name}: output {name} is computed by no node")
        if not self.outputs:
            raise GraphError(f"{self.name}: a graph needs an output")
        return specs

    def split(self, layer: int) -> tuple[Graph, Graph]:
        """Cut before `layer` into two stages joined by the hidden state alone."""
        specs = self.validate()
        first = tuple(node for node in self.nodes if node.layer < layer)
        second = tuple(node for node in self.nodes if node.layer >= layer)
        made = {node.name for node in first}
        used = {name for node in second for name in node.inputs} | set(self.outputs)
        crossing = [node.name for node in first if node.name in used]
        if len(crossing) != 1 or not second:
            found = ", ".join(crossing) or "nothing"
            raise GraphError(f"{self.name}: cannot split at layer {layer}: {found} crosses the cut")
        hidden = crossing[0]
        spec = specs[hidden]
        if not isinstance(spec, TensorSpec) or set(self.outputs) & made:
            raise GraphError(f"{self.name}: cannot split at layer {layer}")
        return (
            self._stage(first, (hidden,), {}, f"{self.name}[:{layer}]"),
            self._stage(second, self.outputs, {hidden: spec}, f"{self.name}[{layer}:]"),
        )

    def _stage(
        self,
        nodes: tuple[Node, ...],
        outputs: tuple[str, ...],
        inputs: Mapping[str, TensorSpec],
        name: str,
    ) -> Graph:
        used = {name for node in nodes for name in node.inputs}
        return replace(
            self,
            inputs={k: v for k, v in {**inputs, **self.inputs}.items() if k in used},
            weights={k: v for k, v in self.weights.items() if k in used},
            state={k: v for k, v in self.state.items() if k in used},
            nodes=nodes,
            outputs=outputs,
            name=name,
        )

    def distinct_weights(self) -> list[WeightSpec]:
        """The weights, each part of the file once (tied embeddings share one)."""
        return list({(w.tensor, w.rows): w for w in self.weights.values()}.values())

    def state_bytes(self) -> int:
        """What the state takes in the types that the graph asks for."""
        return sum(s.bytes for s in self.state.values())

    def multiply_adds(self) -> int:
        """Multiply-adds of the matrix products for one token: what a chunk's time follows."""
        total = 0
        for node in self.nodes:
            shapes = [self.weights[n].shape for n in node.inputs if n in self.weights]
            if node.op is Op.MATMUL:
                total += shapes[0][0] * shapes[0][1]
            elif node.op is Op.EXPERTS:
                used = node.attrs["used"]
                matrices = sum(s[1] * s[2] for s in shapes if len(s) == 3)
                total += matrices * (used if isinstance(used, int) else 1)
        return total

    def __str__(self) -> str:
        return as_text(self)
