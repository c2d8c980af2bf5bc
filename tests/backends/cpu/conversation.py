"""A sequence fed to an attention node in chunks of any size."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forge.backend import Graph, Node, Op, StateSpec, TensorSpec, WeightSpec
from forge.graph import TOKENS
from forge_cpu.crew import Crew
from forge_cpu.library import Library

from .nodes import NodeRun

Array = NDArray[Any]


def attention_graph(
    heads: int,
    kv_heads: int,
    size: int,
    value_size: int,
    capacity: int,
    *,
    slots: int = 1,
    sinks: bool = False,
    **attrs: Any,
) -> Graph:
    """One attention node."""
    widths = {"q": heads * size, "k": kv_heads * size, "v": kv_heads * value_size}
    ids = TensorSpec((TOKENS,), "i32")
    state = {
        "keys": StateSpec(slots, kv_heads, capacity, size),
        "values": StateSpec(slots, kv_heads, capacity, value_size),
    }
    weights = {"sinks": WeightSpec("sinks", (heads,), "f32")} if sinks else {}
    inputs = {n: TensorSpec((TOKENS, width)) for n, width in widths.items()}
    inputs |= {"positions": ids, "slots": ids}
    names = (*widths, *state, "positions", "slots", *weights)
    given = {"heads": heads, "kv_heads": kv_heads, "scale": 2 / size**0.5, **attrs}
    return Graph(inputs, weights, state, (Node("out", Op.ATTENTION, names, given),), ("out",))


@dataclass(frozen=True)
class Machine:
    """Kernels for one instruction set, and the threads that run them."""

    library: Library
    crew: Crew


class Conversation:
    """Random activations for each position, and a node that attends to them."""

    def __init__(self, graph: Graph, cache: str, machine: Machine, seed: int = 1) -> None:
        random = np.random.default_rng(seed)
        self.graph = graph
        self.length = graph.state["keys"].capacity
        self.inputs = {
            name: random.standard_normal((self.length, spec.shape[1]), np.float32)
            for name, spec in graph.inputs.items()
            if spec.dtype == "f32"
        }
        self.weights = {
            name: random.standard_normal(spec.shape, np.float32)
            for name, spec in graph.weights.items()
        }
        self.node = NodeRun(graph, self.weights, machine.library, machine.crew, cache=cache)

    def feed(self, start: int, count: int, inputs: Mapping[str, Array] | None = None) -> Array:
        """The outputs of `count` positions from `start` on."""
        given = self.inputs if inputs is None else inputs
        part = {name: value[start : start + count] for name, value in given.items()}
        return self.node.run(part, np.arange(start, start + count))["out"]

    def outputs(self, chunks: Sequence[int]) -> Array:
        """All positions, in chunks of these sizes over and over."""
        found, start = [], 0
        for chunk in itertools.cycle(chunks):
            count = min(chunk, self.length - start)
            if not count:
                return np.concatenate(found)
            found.append(self.feed(start, count))
            start += count
        raise AssertionError("chunks never end")

    def truth(self) -> Array:
        """What the reference makes of it in float64."""
        from forge import reference

        spec, attrs = self.graph.state, self.graph.nodes[0].attrs
        positions = np.arange(self.length)
        given = [self.inputs[n].astype(np.float64) for n in "qkv"]
        caches = [np.zeros(spec[n].shape) for n in ("keys", "values")]
        sinks = [w.astype(np.float64) for w in self.weights.values()]
        zeros = np.zeros(self.length, np.int64)
        result: Array = reference.attention(*given, *caches, positions, zeros, *sinks, **attrs)  # type: ignore[arg-type]  # attributes are of many types
        return result
