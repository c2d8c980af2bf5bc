"""A backend for forge, in plain numpy: copy it, and put your device where numpy is.

Weights stay in the type they have in the file (F32, F16 or Q8_0) and are expanded to float32 a few
rows at a time, where they are used. Everything else is float32.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from forge.backend import (
    Array,
    Backend,
    BackendConfig,
    BackendError,
    BackendSpec,
    BackendUnavailable,
    Device,
    Executable,
    Graph,
    Memory,
    Node,
    Op,
    Progress,
    Rows,
    Value,
    Weight,
    WeightSpec,
    attributes,
    hookimpl,
    row_indices,
)

EXPANDED = 1 << 18
"""Elements of a matrix that are float32 at one time: 1 MiB, which a cache holds."""


@hookimpl
def forge_backends() -> list[BackendSpec]:
    """What forge finds through the entry point in pyproject.toml."""
    return [BackendSpec("example", "forge_backend_example:ExampleBackend", -1, api=(1, 0))]


class ExampleBackend(Backend):
    """The one device there is."""

    def __init__(self, config: BackendConfig) -> None:
        super().__init__(config)
        if config.device not in (None, self.device.id):
            raise BackendUnavailable(
                f"example has no device {config.device!r}; there is only {self.device.id}"
            )

    @property
    def device(self) -> Device:
        """Its name for people, its kind, and what --device takes."""
        return Device("numpy", "cpu", "0")

    def supports(self, node: Node, specs: Mapping[str, Value]) -> bool:
        """The ops of llama and its relatives; matrices of three types, vectors of one."""
        types = {spec.dtype for n in node.inputs if isinstance(spec := specs[n], WeightSpec)}
        attrs = attributes(node)
        match node.op:
            case Op.EMBED | Op.MATMUL:
                return types <= {"f32", "f16", "q8_0"}
            case Op.ATTENTION:
                plain = attrs["causal"] and not attrs["window"] and not attrs["softcap"]
                return bool(plain) and not types  # sinks would be a weight
            case _:
                return node.op in KERNELS and types <= {"f32"}

    def required(self, graph: Graph) -> int:
        """Weights as in the file, the state in float32, and some room for activations."""
        weights = sum(spec.bytes for spec in graph.distinct_weights())
        state = sum(4 * spec.elements for spec in graph.state.values())
        return weights + state + (64 << 20)

    def memory(self) -> Memory:
        """What the kernel says (proc(5)); zeros where nobody tells."""
        try:
            lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        except OSError:
            return Memory(0, 0)
        kib = {line.partition(":")[0]: int(line.split()[1]) for line in lines}
        return Memory(kib["MemTotal"] << 10, kib["MemAvailable"] << 10)

    def compile(
        self, graph: Graph, weights: Mapping[str, Weight], progress: Progress
    ) -> Executable:
        """Load the weights; with a device of your own, compile its kernels here as well."""
        return ExampleExecutable(graph, weights, progress)


class Matrix:
    """A weight in this backend's own layout: numbers, and for Q8_0 a scale for each 32 of them."""

    def __init__(self, weight: Weight) -> None:
        blocks = weight.raw()
        self.numbers: Array
        self.scales: Array | None = None
        if weight.spec.dtype == "q8_0":  # a block in the file: its scale in F16, then 32 x int8
            blocks = blocks.reshape(*weight.spec.shape[:1], -1, 34)
            self.scales = blocks[..., :2].copy().view(np.float16)
            self.numbers = blocks[..., 2:].copy().view(np.int8)
        else:
            dtype = np.float16 if weight.spec.dtype == "f16" else np.float32
            self.numbers = blocks.view(dtype).copy()

    def __len__(self) -> int:
        return len(self.numbers)

    def rows(self, which: slice | Array) -> Array:
        """Some rows in float32."""
        numbers: Array = self.numbers[which].astype(np.float32, copy=False)
        if self.scales is not None:
            numbers *= self.scales[which]
        return numbers.reshape(len(numbers), -1)


class ExampleExecutable(Executable):
    """Owns the weights and the state; runs the graph node by node."""

    chunk = 64

    def __init__(self, graph: Graph, weights: Mapping[str, Weight], progress: Progress) -> None:
        self._graph = graph
        self._closed = False
        self._weights: dict[str, Array | Matrix] = {}
        loaded: dict[WeightSpec, Array | Matrix] = {}  # tied embeddings are one weight, two names
        for done, (name, weight) in enumerate(weights.items(), 1):
            if weight.spec not in loaded:
                vector = len(weight.spec.shape) == 1
                loaded[weight.spec] = weight.dense() if vector else Matrix(weight)
                weight.release()
            self._weights[name] = loaded[weight.spec]
            progress("load", done, len(weights), name)
        # [slots, heads, capacity, head size]
        self._state = {n: np.zeros(s.shape, np.float32) for n, s in graph.state.items()}
        self._steps: list[tuple[Node, set[str]]] = []
        needed = {*graph.weights, *graph.state, *graph.outputs}
        for node in reversed(graph.nodes):  # what no later node reads is dropped after this one
            self._steps.insert(0, (node, {node.name, *node.inputs} - needed))
            needed |= {node.name, *node.inputs}

    @property
    def graph(self) -> Graph:
        """The graph it was compiled from."""
        return self._graph

    def run(
        self, inputs: Mapping[str, Array], positions: Array, slots: Array, rows: Rows
    ) -> dict[str, Array]:
        """Every node in order, on all tokens at once."""
        if self._closed:
            raise BackendError("this executable is closed")
        values: dict[str, Any] = {**self._weights, **self._state, **inputs}
        values |= {"positions": positions, "slots": slots}
        values["rows"] = row_indices(rows, len(positions))
        with np.errstate(all="ignore"):  # NaN and infinity go on to the logits, where forge looks
            for node, dead in self._steps:
                arguments = [values[name] for name in node.inputs]
                values[node.name] = KERNELS[node.op](*arguments, **attributes(node))
                for name in dead:
                    del values[name]
        return {name: values[name] for name in self._graph.outputs}

    def keep(self, slot: int, count: int) -> int:
        """All of it: a token sees positions up to its own, and those were kept or written anew."""
        del slot  # the same for each
        return count

    def close(self) -> None:
        """Drop weights and state."""
        self._closed = True
        self._weights, self._state = {}, {}


def embed(tokens: Array, table: Matrix) -> Array:
    """One row of the table for each token."""
    return table.rows(tokens)


def rms_norm(x: Array, weight: Array | None = None, *, epsilon: float) -> Array:
    """Each row over its root mean square; a shorter weight is for each head by itself."""
    size = x.shape[1] if weight is None else len(weight)
    heads = x.reshape(len(x), x.shape[1] // size, size)  # x may have no row at all
    root = np.sqrt(np.mean(heads * heads, axis=-1, keepdims=True) + np.float32(epsilon))
    out: Array = heads / root if weight is None else heads / root * weight
    return out.reshape(x.shape)


def matmul(x: Array, weight: Matrix) -> Array:
    """x [T, k] times the weight [n, k] transposed, some rows of the weight at a time."""
    out = np.empty((len(x), len(weight)), np.float32)
    step = max(1, EXPANDED // x.shape[1])
    for start in range(0, len(weight), step):
        part = slice(start, start + step)
        out[:, part] = x @ weight.rows(part).T
    return out


def add(a: Array, b: Array) -> Array:
    """a + b; b may be one row for all."""
    total: Array = a + b
    return total


def rope(
    x: Array,
    positions: Array,
    *,
    heads: int,
    frequencies: tuple[float, ...],
    style: str,
    magnitude: float,
) -> Array:
    """Turn pairs of numbers in each head by position x frequency; the rest of it stays."""
    angles = np.outer(positions, frequencies)[:, None, :]  # float64: positions grow large
    cos, sin = (np.float32(magnitude) * f(angles).astype(np.float32) for f in (np.cos, np.sin))
    pairs = len(frequencies)
    even, odd = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)  # norm: neighbours
    if style == "neox":  # halves
        even, odd = slice(0, pairs), slice(pairs, 2 * pairs)
    before = x.reshape(len(x), heads, -1)
    out = before.copy()
    out[..., even] = before[..., even] * cos - before[..., odd] * sin
    out[..., odd] = before[..., even] * sin + before[..., odd] * cos
    return out.reshape(x.shape)


def attention(
    q: Array,
    k: Array,
    v: Array,
    keys: Array,
    values: Array,
    positions: Array,
    slots: Array,
    *,
    heads: int,
    kv_heads: int,
    scale: float,
    **_: object,
) -> Array:
    """Append k and v to the state, then let each token look back; heads share k and v in groups.

    A token reads nothing past its own position, be it hidden by a mask: 0 x NaN is NaN.
    """
    count, group = len(q), heads // kv_heads
    keys[slots, :, positions] = k.reshape(count, kv_heads, -1)
    values[slots, :, positions] = v.reshape(count, kv_heads, -1)
    queries = q.reshape(count, kv_heads, group, -1) * np.float32(scale)
    out = np.empty((count, kv_heads, group, values.shape[-1]), np.float32)
    for token, (slot, position) in enumerate(zip(slots, positions, strict=True)):
        scores = queries[token] @ keys[slot, :, : position + 1].transpose(0, 2, 1)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        out[token] = weights @ values[slot, :, : position + 1]
    return out.reshape(count, -1)


def silu_mul(gate: Array, up: Array | None = None) -> Array:
    """gate x sigmoid(gate) x up."""
    out: Array = gate / (1 + np.exp(-gate))
    return out if up is None else out * up


def select_rows(x: Array, rows: Array) -> Array:
    """The rows whose outputs are wanted."""
    out: Array = x[rows]
    return out


KERNELS: dict[Op, Callable[..., Array]] = {
    Op.EMBED: embed,
    Op.RMS_NORM: rms_norm,
    Op.MATMUL: matmul,
    Op.ADD: add,
    Op.ROPE: rope,
    Op.ATTENTION: attention,
    Op.SILU_MUL: silu_mul,
    Op.SELECT_ROWS: select_rows,
}
