"""Weights as the kernels read them: matrices repacked once, vectors in float32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from forge.backend import Array, Graph, Op, Progress, Weight, WeightSpec
from forge_cpu.crew import Crew
from forge_cpu.formats import FORMATS
from forge_cpu.kv import lazy_bytes
from forge_cpu.library import Library
from forge_cpu.program import Program

FLOATS = ("f32", "f16", "bf16")
"""Types of matrices that stay as they are in the file."""
_VECTORS = (Op.RMS_NORM, Op.LAYER_NORM, Op.ADD, Op.MUL, Op.ATTENTION)


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


def kernels(graph: Graph) -> Iterator[str]:
    """The names of the kernels that loading the graph's weights takes."""
    for spec in graph.weights.values():
        if len(spec.shape) > 1 and spec.dtype in FORMATS:
            yield f"pack.{spec.dtype}"
