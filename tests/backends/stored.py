"""Weights of files that there are not, and the planes that GPU backends sort them into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forge.backend import Array, WeightSpec
from forge.testing import random_blocks
from forge.weights import dequantize
from forge_gpu.formats import FORMATS
from forge_gpu.placing import Placement, place

RANDOM = np.random.default_rng(7)
LARGE = 1 << 30


@dataclass
class Stored:
    """A weight of a file that there is not: what `forge.backend.Weight` promises, and no more."""

    spec: WeightSpec
    blocks: np.ndarray
    asked: int = 0
    released: int = 0

    def raw(self) -> np.ndarray:
        self.asked += 1
        rows = self.spec.rows or (0, len(self.blocks))
        return self.blocks[slice(*rows)].reshape(*self.spec.shape[:-1], -1)

    def dense(self, dtype) -> np.ndarray:
        self.asked += 1
        return dequantize(self.blocks, self.spec.dtype).astype(dtype).reshape(self.spec.shape)

    def release(self) -> None:
        self.released += 1


def stored(kind: str, *shape: int, tensor: str = "", rows=None) -> Stored:
    whole = (rows[1], shape[-1]) if rows else shape
    blocks = random_blocks(kind, whole, std=0.1, random=RANDOM)
    spec = WeightSpec(tensor or f"t{RANDOM.integers(1 << 30)}", shape, kind, rows)
    return Stored(spec, blocks.reshape(-1, blocks.shape[-1]))


def placed(weights, binding=LARGE, allocation=LARGE, together=()) -> Placement:
    specs = {name: weight.spec for name, weight in weights.items()}
    matrices = [name for name, spec in specs.items() if len(spec.shape) > 1]
    return place(specs, matrices, binding=binding, allocation=allocation, together=together)


def planes_of(kind: str, raw: Array, k: int) -> Array:
    """What formats.py says, in numpy: the planes of rows of blocks, uint8 [n, bytes of a row]."""
    form = FORMATS[kind]
    layout = form.layout(len(raw), k)
    blocks = raw.reshape(-1, form.size)
    packed = np.zeros(layout.size, np.uint8)
    for plane, start in zip(form.planes, layout.starts, strict=False):
        part = blocks[:, plane.offset : plane.offset + plane.size].ravel()
        packed[16 * start : 16 * start + len(part)] = part
    return packed
