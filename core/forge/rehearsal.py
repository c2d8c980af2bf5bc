"""A miniature of the model, computed as a reply would be, before there is one.

Where kernels are fused, or an executable decodes in a way of its own, known answers of single nodes
tell little. Here a prompt comes in two runs, tokens one by one, then by `decode`, and at last other
ones after some were forgotten; what comes out is compared with the reference.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from forge import reference
from forge.backend import Backend, Progress, attributes
from forge.errors import BackendWrong
from forge.executable import Executable, Rows
from forge.graph import TOKENS, Graph, Node, Op, TensorSpec, Value, WeightSpec
from forge.miniature import Miniature
from forge.sampling import Sampler, SamplingParams

Array = NDArray[Any]
Change = Callable[[Array], Array]
Supports = Callable[[Node, Mapping[str, Value]], bool]

LEAST_BOUND = 2e-3
"""Of a run's normalised mean square error. It is higher where rounding costs more:"""
_ROUNDINGS = 4
"""so many times what rounded activations cost."""
_CHANCE = 8
"""Three standard deviations of a single error, squared, are 9 times what is usual."""
_BLOCK = 256
"""Activations that are rounded to int8 with one scale: the most that backends are known to take."""
_SPREAD = 2.0
"""Standard deviation that attention's scores are given: it shows which key is where."""
_FIRST, _PROMPT, _ONES, _DECODED = 5, 16, 2, 12
"""Tokens of the first run, of the whole prompt, one by one, and by decode."""
_KEPT, _OTHERS = 20, 6
"""Tokens that are kept, and that come then."""
_TOKENS = _PROMPT + _ONES + _DECODED + 1 + _OTHERS
_SCALED = "rehearsal_scaled"


def rehearse(
    backend: Backend, small: Miniature, progress: Progress, beat: Callable[[], None]
) -> float:
    """The worst error of a run; BackendWrong says after what it was too large.

    `progress` hears of what the backend compiles, `beat` of each run and token.
    """
    play = _Play(small, backend.supports, beat)
    executable = backend.compile(play.graph, small.weights, progress)
    worst = 0.0
    try:
        for when, error in play.runs(executable):
            if not error <= play.bound:
                raise BackendWrong(
                    f"{backend.device.name} computes the model in small wrongly {when}: "
                    f"error {error:.2g}, bound {play.bound:.2g}"
                )
            worst = max(worst, error)
    finally:
        executable.close()
    return worst


class _Reference:
    """A graph in clear numpy, float32. Owns its weights and its state."""

    def __init__(self, small: Miniature) -> None:
        self._weights = {name: weight.dense() for name, weight in small.weights.items()}
        self._state = {n: np.zeros(s.shape, np.float32) for n, s in small.graph.state.items()}

    def run(
        self, graph: Graph, name: str, given: Array, start: int = 0, change: Change | None = None
    ) -> dict[str, Array]:
        """Every value, of tokens from position `start` on; products read `change` of theirs."""
        places = np.arange(len(given))
        values = {**self._weights, **self._state, name: given}
        values |= {"positions": start + places, "slots": np.zeros_like(places), "rows": places}
        for node in graph.nodes:
            x, *others = (values[name] for name in node.inputs)
            if change and node.op in (Op.MATMUL, Op.EXPERTS):
                x = change(x)
            elif change and node.op is Op.ATTENTION:
                x, others[:2] = change(x), map(change, others[:2])
            values[node.name] = reference.KERNELS[node.op](x, *others, **attributes(node))
        return values


class _Listening(Sampler):
    """Takes the likeliest, and notes of what: positions, ids and logits."""

    def __init__(self, history: Sequence[int]) -> None:
        super().__init__(SamplingParams(temperature=0), history)
        self.heard: list[tuple[int, Any, Array]] = []
        self._ids: Any = slice(None)

    def sample(self, logits: ArrayLike, position: int) -> int:
        """As any does."""
        self.heard.append((position, self._ids, np.array(logits)))
        return super().sample(logits, position)

    def sample_from(self, ids: NDArray[np.integer[Any]], logits: ArrayLike, position: int) -> int:
        """As any does."""
        self._ids = np.array(ids)
        try:
            return super().sample_from(ids, logits, position)
        finally:
            self._ids = slice(None)


class _Play:
    """The graph, what goes in, what ought to come out, and how far from that is too far."""

    def __init__(self, small: Miniature, supported: Supports, beat: Callable[[], None]) -> None:
        self._beat = beat
        bound = ("positions", "slots", "rows")
        self._name, spec = next((n, s) for n, s in small.graph.inputs.items() if n not in bound)
        self._speaks = spec.dtype == "i32" and "rows" in small.graph.inputs
        self._known, random = 0, np.random.default_rng(1)
        if spec.dtype == "i32":
            self._known = min(s.shape[0] for s in _tables(small.graph, self._name))
            self._given: Array = random.integers(0, self._known, _TOKENS).astype(np.int32)
        else:
            self._given = random.standard_normal((_TOKENS, int(spec.shape[-1])), np.float32)
        self._reference = _Reference(small)
        self.graph = self._tuned(small, supported)
        known = self._given[: _PROMPT + _ONES]
        rounded, self._truth = (self._logits(known, 0, change) for change in (_rounded, None))
        self.bound = max(LEAST_BOUND, _ROUNDINGS * _distance(rounded, self._truth))

    def runs(self, executable: Executable) -> Iterator[tuple[str, float]]:
        """Each run's error, after it."""
        given, truth = self._given, self._truth
        self._run(executable, given, 0, _FIRST, "none")
        found = self._run(executable, given, _FIRST, _PROMPT, "all")
        yield "after a prompt", _distance(found, truth[_FIRST:_PROMPT])
        for at in range(_PROMPT, _PROMPT + _ONES):
            found = self._run(executable, given, at, at + 1, "all")
            yield "token by token", _distance(found, truth[at : at + 1])
        if self._speaks:
            given = given.copy()
            yield from self._decoded(executable, given, _PROMPT + _ONES)
        kept = executable.keep(0, min(_KEPT, len(given)))
        other = np.concatenate([given[:kept], given[-_OTHERS:]])
        found = self._run(executable, other, kept, len(other), "all")
        yield "after it forgot", _distance(found, self._logits(other[kept:], kept))

    def _decoded(
        self, executable: Executable, given: Array, start: int
    ) -> Iterator[tuple[str, float]]:
        """As `decode` goes, which goes into `given`; then whether the next token finds it."""
        sampler = _Listening(given[: start + 1].tolist())
        made: list[int] = []
        for token in executable.decode(int(given[start]), start, _DECODED, sampler):
            made.append(token)
            self._beat()
            if len(made) > _DECODED:
                break
        if len(made) != _DECODED or not 0 <= min(made) <= max(made) < self._known:
            yield "in decode", math.inf
            return
        stop = start + _DECODED
        given[start + 1 : stop + 1] = made
        truth = self._logits(given[start : stop + 1], start)
        rows = truth[:-1]
        short = rows.max(axis=-1) - rows[np.arange(_DECODED), made]
        errors = [
            np.square(heard - rows[position - start - 1, ids])
            if start < position <= stop
            else np.full(1, math.inf)
            for position, ids, heard in sampler.heard
        ]
        # Where a sampler hears of one logit a token, one error is no mean: a few sizes are chance.
        worst = [error.mean() / (1 + _CHANCE / error.size) for error in errors]
        worst += [np.mean([error.mean() for error in errors])] if errors else []
        worst.append(np.square(short / _ROUNDINGS).max())
        yield "in decode", float(max(worst) / np.square(rows).mean())
        found = self._run(executable, given, stop, stop + 1, "all")
        yield "after decode", _distance(found, truth[-1:])

    def _run(
        self, executable: Executable, given: Array, start: int, stop: int, rows: Rows
    ) -> Array:
        parts = []
        for at in range(start, stop, executable.chunk):
            part = given[at : min(stop, at + executable.chunk)]
            positions = np.arange(at, at + len(part), dtype=np.int32)
            out = executable.run({self._name: part}, positions, np.zeros_like(positions), rows)
            parts.append(out[self.graph.outputs[0]])
            self._beat()
        return np.concatenate(parts)

    def _logits(self, given: Array, start: int, change: Change | None = None) -> Array:
        values = self._reference.run(self.graph, self._name, given, start, change)
        return values[self.graph.outputs[0]]

    def _tuned(self, small: Miniature, supported: Supports) -> Graph:
        """Layers as loud as what comes into them, and attention that has favourites."""
        graph = small.graph
        values = self._reference.run(graph, self._name, self._given[:_PROMPT])
        before, after = values[small.start], values[small.end]
        factor = _loudness(after - before) / (_loudness(before) or math.nan)
        nodes = [_with_favourites(node, values) for node in graph.nodes]
        graph = replace(graph, nodes=tuple(nodes))
        if not 0 < factor < math.inf:
            return graph
        if self._given.dtype.kind != "i":
            self._given = self._given * np.float32(factor)
            return graph
        scaled = Node(_SCALED, Op.SCALE, (small.start,), {"factor": factor})
        width = TensorSpec((TOKENS, before.shape[1]))
        if not supported(scaled, {small.start: width, _SCALED: width}):
            return graph
        begun = next(index for index, node in enumerate(nodes) if node.layer >= 0)
        layers = [_reading(node, small.start, _SCALED) for node in nodes[begun:]]
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


def _distance(found: Array, truth: Array) -> float:
    """Normalised mean square error."""
    if found.shape != truth.shape:
        return math.inf
    size = float(np.square(truth, dtype=np.float64).sum())
    error = float(np.square(found - truth, dtype=np.float64).sum())
    return error / size if size else error
