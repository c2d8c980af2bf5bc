"""What a miniature ought to compute, how far from that is too far, and what goes into it.

The truth is the reference's, in float32; it is computed once for the same tokens.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forge import reference
from forge.backend import attributes
from forge.graph import TOKENS, Graph, Node, Op, TensorSpec, Value, WeightSpec
from forge.miniature import Miniature

Array = NDArray[Any]
Change = Callable[[Array], Array]
Supports = Callable[[Node, Mapping[str, Value]], bool]

LEAST_BOUND = 2e-3
"""Of a run's normalised mean square error. It is higher where rounding costs more:"""
ROUNDINGS = 4
"""so many times what rounded activations cost."""
_BLOCK = 256
"""Activations that are rounded to int8 with one scale: the most that backends are known to take."""
_SPREAD = 2.0
"""Standard deviation that attention's scores are given: it shows which key is where."""
_REMEMBERED = 8
"""Texts whose truth is kept: a backend whose runs repeat needs two."""
_SCALED = "rehearsal_scaled"


class _Reference:
    """A miniature's graphs in clear numpy, float32. Owns its weights and its state."""

    def __init__(self, small: Miniature) -> None:
        self._weights = {name: weight.dense() for name, weight in small.weights.items()}
        self._state = {n: np.zeros(s.shape, np.float32) for n, s in small.graph.state.items()}

    def run(
        self, graph: Graph, name: str, given: Array, change: Change | None = None
    ) -> dict[str, Array]:
        """Every value, of tokens from the first position on; products read `change` of theirs."""
        places = np.arange(len(given))
        values = {**self._weights, **self._state, name: given}
        values |= {"positions": places, "slots": np.zeros_like(places), "rows": places}
        for node in graph.nodes:
            x, *others = (values[name] for name in node.inputs)
            if change and node.op in (Op.MATMUL, Op.EXPERTS):
                x = change(x)
            elif change and node.op is Op.ATTENTION:
                x, others[:2] = change(x), map(change, others[:2])
            values[node.name] = reference.KERNELS[node.op](x, *others, **attributes(node))
        return values


class Expected:
    """The graph, what goes in, what ought to come out, and the bound of an error.

    `tokens` is how many go in, the first `prompt` of which are those that it is tuned with; `known`
    is how many ids there are, 0 for a stage that takes a hidden state; `speaks` whether tokens go
    in and logits come out.
    """

    def __init__(self, small: Miniature, supported: Supports, tokens: int, prompt: int) -> None:
        bound = ("positions", "slots", "rows")
        self.name, spec = next((n, s) for n, s in small.graph.inputs.items() if n not in bound)
        self.speaks = spec.dtype == "i32" and "rows" in small.graph.inputs
        self.known, random = 0, np.random.default_rng(1)
        if spec.dtype == "i32":
            self.known = min(s.shape[0] for s in _tables(small.graph, self.name))
            self.given: Array = random.integers(0, self.known, tokens).astype(np.int32)
        else:
            self.given = random.standard_normal((tokens, int(spec.shape[-1])), np.float32)
        self._small = small
        self._reference: _Reference | None = None
        self._rows: dict[bytes, Array] = {}
        self.graph = small.graph
        self.graph = self._tuned(supported, self.given[:prompt])
        rounded = self._logits(self.given[:prompt], _rounded)
        truth = self.logits(self.given[:prompt])
        self.bound = max(LEAST_BOUND, ROUNDINGS * distance(rounded, truth))

    def logits(self, given: Array) -> Array:
        """The rows of all that went in, from the first position on."""
        key = given.tobytes()
        if key not in self._rows:
            if len(self._rows) == _REMEMBERED:
                self._rows.clear()
            self._rows[key] = self._logits(given)
        return self._rows[key]

    def release(self) -> None:
        """Let go of the reference's weights; they are read again where something new goes in."""
        self._reference = None

    def _logits(self, given: Array, change: Change | None = None) -> Array:
        return self._values(given, change)[self.graph.outputs[0]]

    def _values(self, given: Array, change: Change | None = None) -> dict[str, Array]:
        self._reference = self._reference or _Reference(self._small)
        return self._reference.run(self.graph, self.name, given, change)

    def _tuned(self, supported: Supports, given: Array) -> Graph:
        """Layers as loud as what comes into them, and attention that has favourites."""
        graph, start = self._small.graph, self._small.start
        values = self._values(given)
        before, after = values[start], values[self._small.end]
        factor = _loudness(after - before) / (_loudness(before) or math.nan)
        nodes = [_with_favourites(node, values) for node in graph.nodes]
        graph = replace(graph, nodes=tuple(nodes))
        if not 0 < factor < math.inf:
            return graph
        if self.given.dtype.kind != "i":
            self.given = self.given * np.float32(factor)
            return graph
        scaled = Node(_SCALED, Op.SCALE, (start,), {"factor": factor})
        width = TensorSpec((TOKENS, before.shape[1]))
        if not supported(scaled, {start: width, _SCALED: width}):
            return graph
        begun = next(index for index, node in enumerate(nodes) if node.layer >= 0)
        layers = [_reading(node, start, _SCALED) for node in nodes[begun:]]
        return replace(graph, nodes=(*nodes[:begun], scaled, *layers))


def _tables(graph: Graph, name: str) -> Iterator[WeightSpec]:
    """Those that an input's tokens are looked up in."""
    for node in graph.nodes:
        if node.op is Op.EMBED and node.inputs[0] == name:
            yield graph.weights[node.inputs[1]]


def _reading(node: Node, old: str, new: str) -> Node:
    return replace(node, inputs=tuple(new if name == old else name for name in node.inputs))


def _with_favourites(node: Node, values: Mapping[str, Array]) -> Node:
    """An attention whose scores differ by much, if they differ at all."""
    if node.op is not Op.ATTENTION:
        return node
    heads, kv_heads = int(str(node.attrs["heads"])), int(str(node.attrs["kv_heads"]))
    q, k = (values[name] for name in node.inputs[:2])
    queries = q.reshape(len(q), kv_heads, heads // kv_heads, -1)
    scores = np.einsum("tkgs,uks->kgtu", queries, k.reshape(len(k), kv_heads, -1))
    spread = float(scores[..., np.tri(len(q), dtype=bool)].std())
    scale = _SPREAD / spread if spread else math.inf
    return replace(node, attrs={**node.attrs, "scale": scale}) if scale < math.inf else node


def _loudness(x: Array) -> float:
    return float(np.sqrt(np.mean(np.square(x), dtype=np.float64)))


def _rounded(x: Array) -> Array:
    """To int8, block by block."""
    blocks = np.pad(x, ((0, 0), (0, -x.shape[1] % _BLOCK))).reshape(len(x), -1, _BLOCK)
    step = np.abs(blocks).max(axis=-1, keepdims=True) / 127
    rounded = np.round(blocks / np.where(step == 0, step.dtype.type(1), step)) * step
    out: Array = rounded.reshape(len(x), -1)[:, : x.shape[1]]
    return out


def distance(found: Array, truth: Array) -> float:
    """Normalised mean square error of `found`."""
    if found.shape != truth.shape:
        return math.inf
    size = float(np.square(truth, dtype=np.float64).sum())
    error = float(np.square(found - truth, dtype=np.float64).sum())
    return error / size if size else error
