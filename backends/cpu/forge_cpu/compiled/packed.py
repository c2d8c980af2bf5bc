"""Weights as the kernels read them: matrices repacked once, vectors in float32."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from forge.backend import Array, Graph, Progress, Weight, WeightSpec
from forge_cpu.arena import Arena, arena_bytes
from forge_cpu.crew import Crew
from forge_cpu.formats import FORMATS
from forge_cpu.library import Library
from forge_cpu.packing import Packed, pack


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
) -> dict[str, Packed | Array]:
    """Every weight by name, each part of the file once; a large matrix is several beats."""
    parts = {(w.spec.tensor, w.spec.rows): packed_bytes(w.spec) for w in weights.values()}
    arena = Arena(sum(map(arena_bytes, parts.values())))
    found: dict[str, Packed | Array] = {}
    done: dict[tuple[str, tuple[int, int] | None], Packed | Array] = {}
    for number, (name, weight) in enumerate(weights.items(), 1):
        part = weight.spec.tensor, weight.spec.rows
        if part not in done:
            done[part] = _loaded(weight, library, crew, arena)
            weight.release()
        found[name] = done[part]
        progress("load", number, len(weights), name)
    return found


def _loaded(weight: Weight, library: Library, crew: Crew, arena: Arena) -> Packed | Array:
    spec = weight.spec
    if len(spec.shape) == 1:
        return weight.dense()
    return pack(spec.dtype, weight.raw(), spec.shape[-1], crew, library, arena)


def packers(graph: Graph) -> set[str]:
    """The names of the kernels that repack the graph's weights."""
    return {
        f"pack.{spec.dtype}"
        for spec in graph.weights.values()
        if len(spec.shape) > 1 and spec.dtype in FORMATS
    }


def placeholders(graph: Graph) -> dict[str, Packed | Array]:
    """Weights of the right types and of no numbers."""
    nothing = np.empty(0, np.uint8)
    return {
        name: np.empty(spec.shape, np.float32)
        if len(spec.shape) == 1
        else Packed(spec.dtype, spec.elements // spec.shape[-1], spec.shape[-1], nothing)
        for name, spec in graph.weights.items()
    }
