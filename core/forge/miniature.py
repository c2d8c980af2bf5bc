"""A model made small: one layer of each kind, widths as small as they go, the weights its own.

Head sizes stay as they are, and rope, norms and gates are those of the model, so that q, k and v
meet and the residual goes through. A small matrix is the first blocks of a large one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from numpy.typing import NDArray

from forge.errors import GraphError
from forge.gguf import GGUFFile
from forge.graph import Attr, Graph, Node, Op, StateSpec, TensorSpec, Value, WeightSpec
from forge.weights import Weight, dequantize

Array = NDArray[Any]

NAME = "miniature"
"""Of the graph."""
CONTEXT = 64
"""Tokens that its cache holds."""
_HIDDEN, _INNER, _VOCABULARY = 256, 512, 256
"""Widths, of whole blocks of any type; those that are smaller in the model stay."""
_EXPERTS, _KV_HEADS, _LAYERS = 3, 2, 3
_WINDOW = 10
"""Of attention that slides: so short that something is out of sight."""
_SAME_WIDTH = frozenset(
    {
        *(Op.RMS_NORM, Op.LAYER_NORM, Op.ADD, Op.MUL, Op.SILU_MUL, Op.GELU_MUL),
        *(Op.ROPE, Op.SOFTCAP, Op.SCALE, Op.SELECT_ROWS),
    }
)


@dataclass(frozen=True, slots=True)
class Miniature:
    """A graph and its weights; `start` and `end` name the hidden state around the layers."""

    graph: Graph
    weights: Mapping[str, Weight]
    start: str
    end: str


class Excerpt(Weight):
    """The first numbers of a weight, as a smaller one."""

    def __init__(self, spec: WeightSpec, whole: WeightSpec, file: GGUFFile) -> None:
        super().__init__(spec, file)
        self._whole = Weight(whole, file)
        kind = file.tensors[spec.tensor].type
        self._count = spec.elements // kind.block_size * kind.block_bytes

    def release(self) -> None:
        """Nothing: the pages are the model's."""

    def _rows(self) -> Array:
        stored = self._whole._rows().reshape(-1)
        return stored[: self._count].reshape(*self.spec.shape[:-1], -1)

    def _dense(self, dtype: Any) -> Array:
        """As one long row: blocks tell nothing of rows, and each row would cost a call."""
        numbers = dequantize(self._rows().reshape(1, -1), self._stored)
        return numbers.astype(dtype, copy=False).reshape(self.spec.shape)


def miniature(graph: Graph, file: GGUFFile) -> Miniature | None:
    """None for a graph that is no stack of layers with causal attention: there is no small one."""
    try:
        short, start, end = _one_of_each(graph)
        small = _Sizes(short, file, start).graph()
        small.validate()
    except GraphError:
        return None
    weights = {n: Excerpt(spec, graph.weights[n], file) for n, spec in small.weights.items()}
    return Miniature(small, weights, start, end)


def _one_of_each(graph: Graph) -> tuple[Graph, str, str]:
    """The graph with one layer of each kind; and the hidden states around them."""
    groups = [list(nodes) for _, nodes in groupby(graph.nodes, lambda node: node.layer)]
    layers = [g for g in groups if any(node.op is Op.ATTENTION for node in g)]
    if not layers or not all(n.attrs.get("causal", True) for n in graph.nodes):
        raise GraphError("no layers, or not causal")
    ways = {_ways(group): group for group in reversed(layers)}
    kinds = {(_ways(group), _types(graph, group)): group for group in reversed(layers)}
    first = {group[0].layer: group for group in (*ways.values(), *reversed(kinds.values()))}
    chosen = sorted([*first.values()][:_LAYERS], key=lambda group: group[0].layer)
    start = _entry(graph, layers[0])
    end, nodes = start, [n for n in graph.nodes if n.layer < layers[0][0].layer]
    for group in chosen:
        nodes += _redirected(group, _entry(graph, group), end)
        end = group[-1].name
    after = [n for n in graph.nodes if n.layer > layers[-1][0].layer]
    nodes += _redirected(after, layers[-1][-1].name, end)
    used = {name for node in nodes for name in node.inputs}
    made = {node.name for node in nodes}
    short = Graph(
        {name: spec for name, spec in graph.inputs.items() if name in used},
        {name: spec for name, spec in graph.weights.items() if name in used},
        {name: spec for name, spec in graph.state.items() if name in used},
        tuple(nodes),
        tuple(name if name in made else end for name in graph.outputs),
        NAME,
    )
    return short, start, end


def _ways(group: Sequence[Node]) -> tuple[object, ...]:
    """Which ops a layer is made of, and how they work."""
    return tuple((node.op, len(node.inputs), *sorted(node.attrs.items())) for node in group)


def _types(graph: Graph, group: Sequence[Node]) -> tuple[object, ...]:
    """Those of its weights."""
    names = (name for node in group for name in node.inputs if name in graph.weights)
    return tuple((graph.weights[name].dtype, graph.weights[name].shape) for name in names)


def _entry(graph: Graph, group: Sequence[Node]) -> str:
    """The hidden state that a layer begins with."""
    bound = {"positions", "slots", "rows", *graph.weights, *graph.state, *(n.name for n in group)}
    found = {name for node in group for name in node.inputs} - bound
    if len(found) != 1:
        raise GraphError(f"a layer reads {', '.join(sorted(found))}")
    return found.pop()


def _redirected(nodes: Sequence[Node], old: str, new: str) -> Iterator[Node]:
    for node in nodes:
        yield replace(node, inputs=tuple(new if name == old else name for name in node.inputs))


class _Sizes:
    """Which values have one width, and which width that is in the small graph."""

    def __init__(self, graph: Graph, file: GGUFFile, start: str) -> None:
        self._graph, nodes = graph, graph.nodes
        self._specs: dict[str, Value] = graph.validate()
        kinds = (file.tensors[w.tensor].type for w in graph.weights.values() if len(w.shape) > 1)
        self._block = max((kind.block_size for kind in kinds), default=1)
        self._like: dict[str, str] = {}
        self._widths: dict[str, int] = {}
        for node in nodes:
            same = self._activations(node) if node.op in _SAME_WIDTH else []
            for name in self._activations(node)[:1] if node.op is Op.EXPERTS else same:
                self._like[self._root(name)] = self._root(node.name)
        self._pin(start, min(_HIDDEN, self._old(start)))
        for name in graph.outputs:
            if self._root(name) != self._root(start):
                self._pin(name, min(_VOCABULARY, self._old(name)))
        for node in nodes:
            self._pin_node(node)

    def graph(self) -> Graph:
        """All of it in small."""
        given = self._graph
        weights: dict[str, WeightSpec] = {}
        state: dict[str, StateSpec] = {}
        for node in given.nodes:
            for name, shape in self._shapes(node):
                whole = given.weights[name]
                first = whole.rows[0] if whole.rows else 0
                rows = (first, first + shape[0]) if whole.rows else None
                spec = replace(whole, shape=shape, rows=rows)
                if weights.setdefault(name, spec) != spec:
                    raise GraphError(f"{name} would have two shapes")
            for name in given.state.keys() & node.inputs:
                heads = self._heads(node)[1]
                state[name] = replace(given.state[name], slots=1, heads=heads, capacity=CONTEXT)
        inputs = {
            name: TensorSpec((spec.shape[0], self.width(name)), spec.dtype)
            if len(spec.shape) == 2
            else spec
            for name, spec in given.inputs.items()
        }
        nodes = tuple(replace(node, attrs=self._attrs(node)) for node in given.nodes)
        return replace(given, inputs=inputs, weights=weights, state=state, nodes=nodes)

    def width(self, name: str) -> int:
        """In small."""
        return self._widths.get(self._root(name), min(_INNER, self._old(name)))

    def _root(self, name: str) -> str:
        while name in self._like and self._like[name] != name:
            name = self._like[name]
        return name

    def _old(self, name: str) -> int:
        spec = self._specs[name]
        if not isinstance(spec, TensorSpec):
            raise GraphError(f"{name} is no activation")
        return int(spec.shape[-1])

    def _activations(self, node: Node) -> list[str]:
        found = ((name, self._specs[name]) for name in node.inputs)
        return [n for n, s in found if isinstance(s, TensorSpec) and len(s.shape) == 2]

    def _pin(self, name: str, width: int) -> None:
        if self._widths.setdefault(self._root(name), width) != width:
            raise GraphError(f"{name} would have two widths")

    def _pin_node(self, node: Node) -> None:
        if node.op is Op.ATTENTION:
            heads, kv_heads = self._heads(node)
            keys, values = (self._graph.state[name].size for name in node.inputs[3:5])
            sizes = heads * keys, kv_heads * keys, kv_heads * values
            for name, width in zip(node.inputs[:3], sizes, strict=True):
                self._pin(name, width)
            self._pin(node.name, heads * values)
        elif node.op is Op.EXPERTS:
            self._pin(node.inputs[1], min(_EXPERTS, self._old(node.inputs[1])))

    def _heads(self, node: Node) -> tuple[int, int]:
        """Heads and kv heads: few, whose values side by side are whole blocks."""
        heads, kv_heads = (int(str(node.attrs[name])) for name in ("heads", "kv_heads"))
        size, group = self._graph.state[node.inputs[4]].size, heads // kv_heads
        fitting = range(min(_KV_HEADS, kv_heads), kv_heads)
        few = next((n for n in fitting if n * group * size % self._block == 0), kv_heads)
        return few * group, few

    def _shapes(self, node: Node) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The shape of each weight that a node reads."""
        given = [(n, self._graph.weights[n].shape) for n in node.inputs if n in self._graph.weights]
        out = self.width(node.name)
        for index, (name, shape) in enumerate(given):
            if node.op is Op.EMBED:
                most = _VOCABULARY if node.inputs[0] == "tokens" else CONTEXT
                yield name, (min(most, shape[0]), out)
            elif node.op is Op.MATMUL:
                yield name, (out, self.width(node.inputs[0]))
            elif node.op is Op.EXPERTS:
                inner, count = min(_INNER, given[0][1][1]), self.width(node.inputs[1])
                rows, columns = (out, inner) if index % 3 == 2 else (inner, out)
                yield name, (count, rows, columns)[: len(shape)]
            elif node.op is Op.ATTENTION:
                yield name, (self._heads(node)[0],)
            else:
                whole = shape[0] == self._old(node.name)
                yield name, (out,) if whole else shape

    def _attrs(self, node: Node) -> dict[str, Attr]:
        attrs = dict(node.attrs)
        if node.op is Op.ROPE:
            heads = int(str(attrs["heads"]))
            attrs["heads"] = self.width(node.name) * heads // self._old(node.name)
        elif node.op is Op.ATTENTION:
            attrs["heads"], attrs["kv_heads"] = self._heads(node)
            if window := attrs.get("window"):
                attrs["window"] = min(_WINDOW, int(str(window)))
        elif node.op is Op.EXPERTS:  # all of them: which ones are best may hang on a rounding
            attrs["used"] = self.width(node.inputs[1])
        return attrs
