"""Weights as the kernels read them: matrices repacked once, vectors in float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from forge.backend import Array, Graph, Progress, Weight, WeightSpec
from forge_cpu.crew import Crew
from forge_cpu.formats import FORMATS
from forge_cpu.kv import lazy_bytes
from forge_cpu.library import Library
from forge_cpu.program import Program


@dataclass(frozen=True, slots=True)
class Matrix:
    """A weight of rank 2 (or of rank 3, expert after expert): its type, its sizes, its memory."""

    kind: str
    rows: int
    columns: int
    memory: Array


def packed_bytes(spec: WeightSpec) -> int:
    """What a weight takes once it is loaded."""
    if len(spec.shape) == 1:
        return 4 * spec.elements
    if spec.dtype in FORMATS:
        return FORMATS[spec.dtype].packed_bytes(spec.elements // spec.shape[-1], spec.shape[-1])
    return spec.bytes


def load(
    weights: Mapping[str, Weight],
    library: Library,
    crew: Crew,
    progress: Progress,
) -> dict[str, Matrix | Array]:
    """Every weight by name, each part of the file once; a large matrix is several beats."""
    found: dict[str, Matrix | Array] = {}
    done: dict[tuple[str, tuple[int, int] | None], Matrix | Array] = {}
    for number, (name, weight) in enumerate(weights.items(), 1):
        part = weight.spec.tensor, weight.spec.rows
        if part not in done:
            done[part] = _loaded(weight, library, crew)
            weight.release()
        found[name] = done[part]
        progress("load", number, len(weights), name)
    return found


def _loaded(weight: Weight, library: Library, crew: Crew) -> Matrix | Array:
    spec = weight.spec
    if len(spec.shape) == 1:
        return weight.dense()
    rows, columns = spec.elements // spec.shape[-1], spec.shape[-1]
    blocks = weight.raw().reshape(rows, -1)
    if spec.dtype not in FORMATS:
        memory = lazy_bytes(blocks.size)
        memory[:] = np.ascontiguousarray(blocks).reshape(-1)
        return Matrix(spec.dtype, rows, columns, memory)
    memory = lazy_bytes(FORMATS[spec.dtype].packed_bytes(rows, columns))
    program = Program(library)
    program.add(f"pack.{spec.dtype}", blocks.ctypes.data, blocks.strides[0], memory, rows, columns)
    crew.run(program)
    return Matrix(spec.dtype, rows, columns, memory)


def packers(graph: Graph) -> set[str]:
    """The names of the kernels that repack the graph's weights."""
    return {
        f"pack.{spec.dtype}"
        for spec in graph.weights.values()
        if len(spec.shape) > 1 and spec.dtype in FORMATS
    }


def placeholders(graph: Graph) -> dict[str, Matrix | Array]:
    """Weights of the right types and of no numbers."""
    nothing = np.empty(0, np.uint8)
    return {
        name: np.empty(spec.shape, np.float32)
        if len(spec.shape) == 1
        else Matrix(spec.dtype, spec.elements // spec.shape[-1], spec.shape[-1], nothing)
        for name, spec in graph.weights.items()
    }
