"""Steps of a graph as calls of kernels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from forge.backend import (
    Array,
    BackendUnsupported,
    Graph,
    Op,
    StateSpec,
    TensorSpec,
    Value,
    attributes,
)
from forge_cpu.compiled.buffers import buffers
from forge_cpu.compiled.calls import Call, write
from forge_cpu.compiled.frame import Frame
from forge_cpu.compiled.fusion import Step, steps
from forge_cpu.compiled.packed import Matrix
from forge_cpu.formats import BLOCK, FORMATS, LINE
from forge_cpu.kv import Attention, KvCache, KvLayout, lazy_bytes
from forge_cpu.library import Library
from forge_cpu.program import Argument, Program


class Emitter:
    """Writes the program of a graph; owns the memory that its steps work on."""

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, Matrix | Array],
        library: Library,
        threads: int,
        chunk: int,
    ) -> None:
        self.graph, self.weights = graph, dict(weights)
        self.threads, self.chunk = threads, chunk
        self._library = library
        self.program = Program(library)
        self.frame = Frame(chunk)
        self.specs: dict[str, Value] = graph.validate()
        todo = steps(graph)
        made = {step.out for step in todo}
        shapes = {name: (chunk, self.width(name)) for name in made}
        self.values = buffers(todo, shapes, graph.outputs)
        for name in graph.inputs:
            if name not in self.frame:
                self.values[name] = lazy_bytes(4 * chunk * self.width(name)).view(np.float32)
                self.values[name] = self.values[name].reshape(chunk, self.width(name))
        self._calls: list[Call] = []
        self._lines: dict[int, Array] = {}
        self._quantised: dict[int, str] = {}
        self.caches: dict[str, KvCache] = {}
        self.scratch: Array | None = None
        self.partials: Array | None = None
        self.angles: dict[object, Array] = {}
        for step in todo:
            EMITTERS[step.node.op](self, step)
        write(self._calls, self.program)

    def call(
        self, kernel: str, *arguments: Argument, reads: Sequence[Array], writes: Sequence[Array]
    ) -> None:
        """A kernel's turn."""
        seen, changed = (frozenset(a.ctypes.data for a in arrays) for arrays in (reads, writes))
        self._calls.append(Call(kernel, arguments, seen, changed))

    def width(self, name: str) -> int:
        """Columns of an activation."""
        spec = self.specs[name]
        assert isinstance(spec, TensorSpec)
        return int(spec.shape[-1])

    def count(self, name: str) -> int:
        """Rows of an activation in this run."""
        return int(self.counter(name)[0])

    def counter(self, name: str) -> Array:
        """Where kernels find how many rows an activation has."""
        spec = self.specs[name]
        assert isinstance(spec, TensorSpec)
        return self.frame.tokens if spec.shape[0] == "T" else self.frame.rows

    def vector(self, name: str) -> Array:
        """A weight of one row."""
        found = self.weights[name]
        if not isinstance(found, np.ndarray):
            raise BackendUnsupported(f"{name} is a matrix where a vector is read")
        return found

    def matrix(self, name: str) -> Matrix:
        """A weight of more rows."""
        found = self.weights[name]
        if not isinstance(found, Matrix):
            raise BackendUnsupported(f"{name} is a vector where a matrix is read")
        return found

    def lines(self, name: str) -> Array:
        """An activation quantised to int8 in blocks; once for all products that read it."""
        width, x = self.width(name), self.values[name]
        if width not in self._lines:
            self._lines[width] = lazy_bytes(self.chunk * width // BLOCK * LINE)
        lines = self._lines[width]
        if self._quantised.get(width) != name:
            self._quantised[width] = name
            self.call(
                "quantise.rows", self.counter(name), x, lines, width, reads=[x], writes=[lines]
            )
        return lines

    def clear(self) -> None:
        """Let go of everything."""
        self.weights, self.values, self._lines, self.caches, self.angles = {}, {}, {}, {}, {}
        self.scratch = self.partials = None
        self._calls = []
        self.program = Program(self._library)


def matmul(e: Emitter, step: Step) -> None:
    """A product, with a bias and a residual where the sum is its only use."""
    x, weight = step.reads
    matrix, out = e.matrix(weight), e.values[step.out]
    bias = e.vector(step.bias) if step.bias else 0
    residual = e.values[step.residual] if step.residual else 0
    source = e.lines(x) if matrix.kind in FORMATS else e.values[x]
    e.call(
        f"{'matmul' if matrix.kind in FORMATS else 'floats'}.{matrix.kind}",
        e.counter(x),
        source,
        matrix.memory,
        out,
        matrix.rows,
        matrix.columns,
        bias,
        residual,
        reads=[source, *([residual] if step.residual else [])],
        writes=[out],
    )


def attention(e: Emitter, step: Step) -> None:
    """Append, then attend: over keys where tokens are few, over tokens where they are many."""
    q, k, v, keys, values = step.reads[:5]
    attrs = attributes(step.node)
    state, other = e.specs[keys], e.specs[values]
    assert isinstance(state, StateSpec)
    assert isinstance(other, StateSpec)
    layout = KvLayout(state.dtype, state.slots, state.heads, state.capacity, state.size, other.size)
    cache = e.caches[keys] = KvCache(layout)
    sizes = Attention(int(attrs["heads"]), layout)
    if e.scratch is None or e.scratch.shape[1] < sizes.scratch(1).shape[1]:
        e.scratch = sizes.scratch(e.threads)
    if e.partials is None or e.partials.size < sizes.partials().size:
        e.partials = sizes.partials()
    out = e.values[step.out]
    arguments = (
        e.frame.tokens,
        e.frame["positions"],
        e.frame["slots"],
        *(e.values[q], e.width(q), e.values[k], e.width(k), e.values[v], e.width(v)),
        *(out, e.width(step.out)),
        *(cache.keys, cache.values, layout.padded),
        *(sizes.heads, layout.heads, layout.key_size, layout.value_size),
        float(attrs["scale"]),
        int(attrs["causal"]),
        int(attrs["window"]),
        float(attrs["softcap"]),
        e.vector(step.reads[7]) if len(step.reads) == 8 else 0,
        *(e.scratch, e.scratch.shape[1], e.partials, sizes.tiles, 0),
    )
    e.call(
        f"attention.append_{layout.kind}",
        *arguments,
        reads=[e.values[k], e.values[v]],
        writes=[cache.keys],
    )
    shared = {"reads": [e.values[q], cache.keys], "writes": [out, e.partials, e.scratch]}
    for kernel in (f"few_{layout.kind}", "join", f"many_{layout.kind}"):
        e.call(f"attention.{kernel}", *arguments, **shared)


def embed(e: Emitter, step: Step) -> None:
    """Rows of a table by token id."""
    table, out = e.matrix(step.reads[1]), e.values[step.out]
    ids = e.frame[step.reads[0]]
    name = f"embed.{table.kind}" if table.kind in FORMATS else f"simple.embed_{table.kind}"
    e.call(name, e.counter(step.out), ids, table.memory, out, table.columns, reads=[], writes=[out])


def rms_norm(e: Emitter, step: Step) -> None:
    """Over rows, or over runs of the weight's size within them."""
    x, out, columns = e.values[step.reads[0]], e.values[step.out], e.width(step.out)
    weight = e.vector(step.reads[1]) if len(step.reads) > 1 else None
    size = columns if weight is None else len(weight)
    epsilon = float(attributes(step.node)["epsilon"])
    e.call(
        "simple.rms_norm",
        e.counter(step.out),
        x,
        0 if weight is None else weight,
        out,
        columns,
        size,
        epsilon,
        reads=[x],
        writes=[out],
    )


def silu_mul(e: Emitter, step: Step) -> None:
    gate, out = e.values[step.reads[0]], e.values[step.out]
    up = e.values[step.reads[1]]
    e.call(
        "simple.silu_mul",
        e.counter(step.out),
        gate,
        up,
        out,
        e.width(step.out),
        reads=[gate, up],
        writes=[out],
    )


def add(e: Emitter, step: Step) -> None:
    a, out = e.values[step.reads[0]], e.values[step.out]
    other = step.reads[1]
    b = e.vector(other) if other in e.weights else e.values[other]
    period = len(b) if other in e.weights else 0
    e.call(
        "simple.add",
        e.counter(step.out),
        a,
        b,
        out,
        e.width(step.out),
        period,
        reads=[a, b],
        writes=[out],
    )


def select_rows(e: Emitter, step: Step) -> None:
    x, out = e.values[step.reads[0]], e.values[step.out]
    e.call(
        "simple.select_rows",
        e.frame.rows,
        x,
        e.frame["rows"],
        out,
        e.width(step.out),
        reads=[x],
        writes=[out],
    )


def rope(e: Emitter, step: Step) -> None:
    attrs = attributes(step.node)
    key = attrs["frequencies"], attrs["magnitude"]
    pairs = len(attrs["frequencies"])
    if key not in e.angles:
        table = e.angles[key] = np.zeros((e.chunk, 2, pairs), np.float32)
        frequencies = np.array(attrs["frequencies"], np.float64)
        e.call(
            "simple.angles",
            e.frame.tokens,
            e.frame["positions"],
            frequencies,
            table,
            pairs,
            float(attrs["magnitude"]),
            reads=[],
            writes=[table],
        )
    table = e.angles[key]
    x, out = e.values[step.reads[0]], e.values[step.out]
    e.call(
        "simple.rope",
        e.frame.tokens,
        x,
        table,
        out,
        e.width(step.out),
        int(attrs["heads"]),
        pairs,
        int(attrs["style"] == "neox"),
        reads=[x, table],
        writes=[out],
    )


EMITTERS: dict[Op, Callable[[Emitter, Step], None]] = {
    Op.EMBED: embed,
    Op.RMS_NORM: rms_norm,
    Op.MATMUL: matmul,
    Op.ADD: add,
    Op.ROPE: rope,
    Op.ATTENTION: attention,
    Op.SILU_MUL: silu_mul,
    Op.SELECT_ROWS: select_rows,
}
