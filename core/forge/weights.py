"""A model's weights as a backend sees them: mapped blocks, or dense numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from forge.errors import BackendUnsupported, UnsupportedModel
from forge.gguf import GGUFFile
from forge.graph import Graph, WeightSpec

Array: TypeAlias = NDArray[Any]

_CONVERTED = {"f16": np.float16, "f32": np.float32}
_ELEMENTS_AT_ONCE = 1 << 20
"""Elements dequantised at one time: bounds what a large tensor needs besides its result."""


class Weight:
    """One weight of a graph; the numbers stay in the mapped file.

    `spec.dtype` is what the graph asks for. Where the file holds another type, forge converts: the
    backend lacks the file's.
    """

    def __init__(self, spec: WeightSpec, file: GGUFFile) -> None:
        self.spec = spec
        self._file = file
        self._stored = file.tensors[spec.tensor].type.name.lower()

    def raw(self) -> Array:
        """Blocks of `spec.dtype` as uint8 [..., bytes of a row]: a read-only view of the file, or a
        conversion made anew at each call."""
        if self._stored == self.spec.dtype:
            return self._rows()
        return np.ascontiguousarray(self._converted()).view(np.uint8)

    def dense(self, dtype: Any = np.float32) -> Array:
        """The numbers in `spec.shape`, made in blocks of rows."""
        if self._stored == self.spec.dtype:
            return self._dense(dtype)
        converted: Array = self._converted().astype(dtype)
        return converted

    def release(self) -> None:
        """The file's pages may leave memory: the backend has its own copy."""
        self._file.release(self.spec.tensor)

    def _rows(self) -> Array:
        data, shape = self._file.data(self.spec.tensor), self.spec.shape
        if self.spec.rows is not None:
            start, stop = self.spec.rows
            if len(shape) == 1:  # its rows are its numbers
                size = len(data) // math.prod(self._file.tensors[self.spec.tensor].shape)
                start, stop = start * size, stop * size
            data = data[start:stop]
        return data.reshape(*shape[:-1], -1)  # the graph may see a matrix as the only expert

    def _converted(self) -> Array:
        """The numbers in the type that the graph asks for; none may overflow it.

        If one does, the model is sound: a backend that computes its type takes it.
        """
        try:
            with np.errstate(over="raise"):
                return self._dense(_CONVERTED[self.spec.dtype])
        except FloatingPointError:
            raise BackendUnsupported(
                f"{self._file.path}: tensor {self.spec.tensor} holds numbers too large for "
                f"{self.spec.dtype.upper()}, and the backend cannot compute "
                f"{self._stored.upper()}"
            ) from None

    def _dense(self, dtype: Any) -> Array:
        raw = self._rows()
        rows = raw.reshape(-1, raw.shape[-1])
        out = np.empty((len(rows), self.spec.shape[-1]), dtype)
        step = max(1, _ELEMENTS_AT_ONCE // max(1, self.spec.shape[-1]))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            try:
                out[start : start + step] = dequantize(part, self._stored)
            except UnsupportedModel as error:
                raise UnsupportedModel(
                    f"{self._file.path}: tensor {self.spec.tensor}: {error}"
                ) from None
        return out.reshape(self.spec.shape)


class Weights(Mapping[str, Weight]):
    """The weights of a graph by name."""

    def __init__(self, graph: Graph, file: GGUFFile) -> None:
        self._weights = {name: Weight(spec, file) for name, spec in graph.weights.items()}

    def __getitem__(self, name: str) -> Weight:
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)


def dequantize(rows: Array, kind: str) -> Array:
    """Rows of GGML blocks (uint8 [n, bytes]) as float32 [n, k]; `kind` in lower case."""
    if kind == "f32":
        return rows.view(np.float32)
    if kind == "f16":
        return rows.view(np.float16)
    # Late: importing gguf takes 0.3 s, which only a worker should spend.
    from gguf import GGMLQuantizationType, quants

    try:
        out: Array = quants.dequantize(rows, GGMLQuantizationType[kind.upper()])
    except (NotImplementedError, KeyError):
        raise UnsupportedModel(f"forge cannot read weights of type {kind.upper()}") from None
    return out
