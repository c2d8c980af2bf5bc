"""Known answers: one small case for every op, weight type and head size that a graph uses.

The case's weights are rows of the model's own, its truth is the reference in float64, and it takes
the same road as the model: compile, then run. A device that lost its mind shows here first. Last
comes the whole model in small (`rehearsal`), which may stay, to be asked again later.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forge import reference
from forge.backend import Backend, Progress
from forge.errors import BackendWrong
from forge.gguf import GGUFFile
from forge.graph import ROWS, TOKENS, Graph, Node, Op, StateSpec, TensorSpec, WeightSpec
from forge.miniature import miniature
from forge.rehearsal import Rehearsal
from forge.weights import Weights

Array = NDArray[Any]

BOUND = 1e-3
"""Normalised mean square error: int8 activations stay under 1e-4, a scale off by 4 % is above."""
_ROWS, _EXPERTS = 16, 4
_TELLING = ("heads", "kv_heads", "window", "softcap", "style", "approximation", "gating")
"""Attributes by which two nodes of an op are two kinds."""
_TOKENS, _ATTENDED = 4, 40
"""Tokens that come before the single one: attention needs many, and some that lie far apart."""


@dataclass(frozen=True, slots=True)
class Case:
    """A graph of one node, and tokens to run it on: several at once, then one more."""

    name: str
    graph: Graph
    inputs: Mapping[str, Array]

    def runs(self, chunk: int) -> Iterator[tuple[Array, dict[str, Array]]]:
        """Positions and inputs of each run: all but the last token in chunks, then that one."""
        last = max((len(value) for value in self.inputs.values()), default=_TOKENS + 1) - 1
        for start in (*range(0, last, chunk), last):
            stop = min(start + chunk, last) if start < last else last + 1
            positions = np.arange(start, stop, dtype=np.int32)
            yield positions, {name: value[start:stop] for name, value in self.inputs.items()}


def cases(graph: Graph) -> Iterator[Case]:
    """One case for each kind of node."""
    specs = graph.validate()
    seen: set[tuple[object, ...]] = set()
    for node in graph.nodes:
        weights = [graph.weights[n] for n in node.inputs if n in graph.weights]
        states = [graph.state[n] for n in node.inputs if n in graph.state]
        sizes = [w.shape for w in weights if len(w.shape) == 1] + [s.size for s in states]
        heads = [node.attrs.get(name) for name in _TELLING]
        ids = [n for n in node.inputs if n in ("tokens", "positions")]
        kind = (node.op, *(w.dtype for w in weights), *sizes, *heads, len(node.inputs), *ids)
        if kind not in seen:
            seen.add(kind)
            types = ", ".join(w.dtype for w in weights)
            yield _case(f"{node.op} {types}".strip(), node, {n: specs[n] for n in node.inputs})


def _case(name: str, node: Node, specs: Mapping[str, object]) -> Case:
    random = np.random.default_rng(0)
    inputs: dict[str, TensorSpec] = {}
    weights: dict[str, WeightSpec] = {}
    state: dict[str, StateSpec] = {}
    values: dict[str, Array] = {}
    attrs = dict(node.attrs)
    tokens = 1 + (_ATTENDED if node.op is Op.ATTENTION else _TOKENS)
    for at, (given, spec) in enumerate(specs.items()):
        if isinstance(spec, WeightSpec):
            weights[given] = _few_rows(spec, _EXPERTS if node.op is Op.EXPERTS else _ROWS)
        elif isinstance(spec, StateSpec):
            state[given] = replace(spec, slots=1, capacity=_ATTENDED + 1)
        elif isinstance(spec, TensorSpec):
            width = spec.shape[-1] if len(spec.shape) == 2 else 0
            if node.op is Op.EXPERTS and at == 1:
                width = min(int(width), _EXPERTS)
                attrs["used"] = min(attrs["used"], width)
            first = ROWS if given == "rows" else TOKENS
            inputs[given] = TensorSpec((first, width) if width else (first,), spec.dtype)
            if given == "tokens":
                tables = [s.shape[0] for s in specs.values() if isinstance(s, WeightSpec)]
                known = min(_ROWS, *tables)
                values[given] = random.integers(0, known, tokens).astype(np.int32)
            elif width:
                values[given] = random.standard_normal((tokens, int(width)), np.float32)
    graph = Graph(inputs, weights, state, (replace(node, attrs=attrs),), (node.name,), name)
    return Case(name, graph, values)


def _few_rows(spec: WeightSpec, most: int) -> WeightSpec:
    if len(spec.shape) == 1 or spec.shape[0] <= most:
        return spec
    first = spec.rows[0] if spec.rows else 0
    return replace(spec, shape=(most, *spec.shape[1:]), rows=(first, first + most))


def check(
    backend: Backend,
    graph: Graph,
    file: GGUFFile,
    beat: Callable[[int, int, str], None],
    progress: Progress = lambda *_: None,
) -> float:
    """Run every case and rehearse; the worst error, or BackendWrong naming the case.

    `progress` hears of what the backend compiles for them, `beat` of cases that are finished.
    """
    worst, rehearsal = examine(backend, graph, file, beat, progress)
    if rehearsal is not None:
        rehearsal.close()
    return worst


def examine(
    backend: Backend,
    graph: Graph,
    file: GGUFFile,
    beat: Callable[[int, int, str], None],
    progress: Progress = lambda *_: None,
) -> tuple[float, Rehearsal | None]:
    """As `check`; the rehearsal, where the graph has one, is left open for the caller to close."""
    every, worst, small = list(cases(graph)), 0.0, miniature(graph, file)
    total = len(every) + (small is not None)
    for done, case in enumerate(every, 1):
        error = _error(backend, case, file, progress)
        if not error <= BOUND:
            raise BackendWrong(
                f"{backend.device.name} computes {case.name} wrongly: "
                f"error {error:.2g}, bound {BOUND:.2g}"
            )
        worst = max(worst, error)
        beat(done, total, case.name)
    if small is None:
        return worst, None
    name = "the model in small"
    rehearsal = Rehearsal(backend, small, progress)
    try:
        worst = max(worst, rehearsal.whole(lambda: beat(len(every), total, name)))
    except BaseException:
        rehearsal.close()
        raise
    beat(total, total, name)
    return worst, rehearsal


def _error(backend: Backend, case: Case, file: GGUFFile, progress: Progress) -> float:
    weights = Weights(case.graph, file)
    executable = backend.compile(case.graph, weights, progress)
    (node,) = case.graph.nodes
    exact: dict[str, Array] = {n: w.dense().astype(np.float64) for n, w in weights.items()}
    exact |= {n: np.zeros(s.shape) for n, s in case.graph.state.items()}
    error = size = 0.0
    try:
        for positions, given in case.runs(executable.chunk):
            slots, count = np.zeros_like(positions), len(positions)
            rows = [count - 1, 0] if node.op is Op.SELECT_ROWS else list(range(count))
            got = executable.run(given, positions, slots, rows)[node.name]
            values = {**exact, "positions": positions, "slots": slots, "rows": np.array(rows)}
            values |= {
                n: v if v.dtype.kind == "i" else v.astype(np.float64) for n, v in given.items()
            }
            truth = reference.KERNELS[node.op](*(values[n] for n in node.inputs), **node.attrs)
            if got.shape != truth.shape:
                return math.inf
            error += float(np.square(got - truth).sum())
            size += float(np.square(truth).sum())
    finally:
        executable.close()
    return error / size if size else error
