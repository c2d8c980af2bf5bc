"""What a graph ought to compute: the reference ops in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forge import reference
from forge.backend import attributes
from forge.executable import row_indices
from forge.gguf import GGUFFile
from forge.graph import Graph
from forge.weights import Weights

Array = NDArray[Any]


class Truth:
    """Runs a graph as an executable does, node by node in float64. Owns its state."""

    def __init__(self, graph: Graph, file: GGUFFile) -> None:
        self.graph = graph
        self._weights = {n: w.dense().astype(np.float64) for n, w in Weights(graph, file).items()}
        self._state = {name: np.zeros(spec.shape) for name, spec in graph.state.items()}

    def run(
        self,
        inputs: Mapping[str, Any],
        positions: Sequence[int],
        rows: Any = "all",
        slots: Sequence[int] | int = 0,
    ) -> dict[str, Array]:
        """The outputs by name, float64."""
        where = [slots] * len(positions) if isinstance(slots, int) else slots
        values: dict[str, Array] = {**self._weights, **self._state}
        for name, value in inputs.items():
            whole = self.graph.inputs[name].dtype == "i32"
            values[name] = np.asarray(value, np.int64 if whole else np.float64)
        values["positions"] = np.asarray(positions)
        values["slots"] = np.asarray(where)
        values["rows"] = row_indices(rows, len(positions))
        with np.errstate(all="ignore"):  # infinity and NaN are what some tests are about
            for node in self.graph.nodes:
                kernel = reference.KERNELS[node.op]
                values[node.name] = kernel(*(values[n] for n in node.inputs), **attributes(node))
        return {name: values[name] for name in self.graph.outputs}


def nmse(found: Array, truth: Array) -> float:
    """Normalised mean square error: sum((found - truth)²) / sum(truth²)."""
    size = float(np.square(truth, dtype=np.float64).sum())
    error = float(np.square(found.astype(np.float64) - truth).sum())
    return error / size if size else error


def divergence(truth: Array, found: Array) -> float:
    """Mean Kullback–Leibler divergence KL(truth ‖ found) of rows of logits, in nats."""
    p, q = _log_softmax(truth), _log_softmax(found)
    return float((np.exp(p) * (p - q)).sum(axis=-1).mean())


def _log_softmax(logits: Array) -> Array:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    out: Array = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return out


def agreement(truth: Array, found: Array) -> float:
    """The part of rows whose largest logit is the same one."""
    return float((truth.argmax(axis=-1) == found.argmax(axis=-1)).mean())
