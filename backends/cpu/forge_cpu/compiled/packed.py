"""Weights as the kernels read them: matrices repacked once, vectors in float32."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forge.backend import Array, Graph, Op, Progress, Weight, WeightSpec
from forge_cpu.arena import Arena, arena_bytes
from forge_cpu.crew import Crew
from forge_cpu.formats import FORMATS
from forge_cpu.library import Library
from forge_cpu.packing import Packed, pack

BIASES = slice(5, None)
"""Of the inputs of experts, those that are added."""


def numbers(graph: Graph) -> frozenset[str]:
    """Weights that are read as float32: vectors, and one for each expert."""
    several = {n for node in graph.nodes if node.op is Op.EXPERTS for n in node.inputs[BIASES]}
    return frozenset(several | {n for n, w in graph.weights.items() if len(w.shape) == 1})


def packed_bytes(spec: WeightSpec) -> int:
    """What a weight takes once it is loaded."""
    if len(spec.shape) == 1:
        return 4 * spec.elements
    if spec.dtype in FORMATS:
        rows, columns = spec.shape[-2:]
        each = FORMATS[spec.dtype].packed_bytes(rows, columns)
        return each * (spec.elements // (rows * columns))
    return spec.bytes


def load(
    graph: Graph,
    weights: Mapping[str, Weight],
    library: Library,
    crew: Crew,
    progress: Progress,
) -> dict[str, Packed | Array]:
    """Every weight by name, each part of the file once; a large matrix is several beats."""
    found: dict[str, Packed | Array] = {}
    done: dict[tuple[str, tuple[int, int] | None, bool], Packed | Array] = {}
    plain = numbers(graph)
    matrices = {(w.spec.tensor, w.spec.rows): w.spec for n, w in weights.items() if n not in plain}
    arena = Arena(sum(arena_bytes(packed_bytes(spec)) for spec in matrices.values()))
    progress("load", 0, len(weights))
    for number, (name, weight) in enumerate(weights.items(), 1):
        part = weight.spec.tensor, weight.spec.rows, name in plain
        if part not in done:
            done[part] = weight.dense() if name in plain else _matrix(weight, library, crew, arena)
            weight.release()
        found[name] = done[part]
        progress("load", number, len(weights), name)
    return found


def _matrix(weight: Weight, library: Library, crew: Crew, arena: Arena) -> Packed:
    spec = weight.spec
    return pack(spec.dtype, weight.raw(), spec.shape[-1], crew, library, arena)


def packers(graph: Graph) -> set[str]:
    """The names of the kernels that repack the graph's weights."""
    plain = numbers(graph)
    return {
        f"pack.{spec.dtype}"
        for name, spec in graph.weights.items()
        if name not in plain and spec.dtype in FORMATS
    }


def placeholders(graph: Graph) -> dict[str, Packed | Array]:
    """Weights of the right types and of no numbers."""
    plain = numbers(graph)
    return {
        name: np.empty(spec.shape, np.float32) if name in plain else _empty(spec)
        for name, spec in graph.weights.items()
    }


def _empty(spec: WeightSpec) -> Packed:
    rows, columns = spec.shape[-2:]
    count = spec.elements // (rows * columns)
    return Packed(spec.dtype, rows, columns, np.empty(0, np.uint8), count)
