"""One op on one set of sizes: a graph of one node, its weights' file, and what is run on it."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import gguf
import numpy as np
from numpy.typing import NDArray

from forge.executable import Rows
from forge.gguf import tensor_type
from forge.graph import ROWS, TOKENS, Attr, Graph, Node, Op, StateSpec, TensorSpec, WeightSpec
from forge.testing.blocks import random_blocks
from forge.testing.cases.bounds import Bound, bound

Array = NDArray[Any]
OUT = "out"


@dataclass(frozen=True, slots=True)
class WeightData:
    """A random weight: its type, its shape, and its numbers' mean and standard deviation."""

    kind: str
    shape: tuple[int, ...]
    std: float = 1.0
    mean: float = 0.0

    def blocks(self, random: np.random.Generator) -> NDArray[np.uint8]:
        """As they lie in a file."""
        if self.mean and self.kind in ("f32", "f16"):
            numbers = self.mean + self.std * random.standard_normal(self.shape, np.float32)
            return numbers.astype(self.kind.replace("f", "float")).view(np.uint8)
        return random_blocks(self.kind, self.shape, std=self.std, random=random)


Operand: TypeAlias = TensorSpec | WeightData | StateSpec


@dataclass(frozen=True, slots=True)
class Step:
    """One run: how many tokens, from which position on; `slots` sequences take turns.

    before: tokens of the turns that an earlier run has taken.
    """

    tokens: int
    start: int = 0
    rows: Rows = "all"
    slots: int = 1
    before: int = 0

    @property
    def positions(self) -> list[int]:
        """Each token's place in its sequence."""
        return [self.start + index // self.slots for index in self._turns]

    @property
    def sequences(self) -> list[int]:
        """Each token's sequence."""
        return [index % self.slots for index in self._turns]

    @property
    def _turns(self) -> range:
        return range(self.before, self.before + self.tokens)

    def cut(self, chunk: int) -> Iterator[Step]:
        """Runs of at most `chunk` tokens; of chosen rows, those of the first run alone."""
        if self.rows != "all":
            rows = self.rows
            if not isinstance(rows, str):
                rows = [row for row in rows if row < chunk]
            yield replace(self, tokens=min(self.tokens, chunk), rows=rows)
            return
        for done in range(0, self.tokens, chunk):
            part = min(chunk, self.tokens - done)
            yield replace(self, tokens=part, before=self.before + done)


@dataclass(frozen=True, slots=True)
class OpCase:
    """A case; `column` is its weight type or feature in the table, `operands` the node's inputs."""

    op: Op
    column: str
    label: str
    operands: Mapping[str, Operand]
    steps: tuple[Step, ...]
    attrs: Mapping[str, Attr] = field(default_factory=dict[str, Attr])
    quick: bool = False
    spread: float = 1.0
    """Standard deviation of the activations."""

    @property
    def id(self) -> str:
        """Its name among the tests of its op."""
        return f"{self.column}-{self.label}" if self.label else self.column

    @property
    def graph(self) -> Graph:
        """One node."""
        of_kind = self.operands
        weights = {
            name: WeightSpec(name, value.shape, value.kind)
            for name, value in of_kind.items()
            if isinstance(value, WeightData)
        }
        state = {name: value for name, value in of_kind.items() if isinstance(value, StateSpec)}
        inputs = {name: value for name, value in of_kind.items() if isinstance(value, TensorSpec)}
        node = Node(OUT, self.op, tuple(self.operands), self.attrs)
        return Graph(inputs, weights, state, (node,), (OUT,), f"{self.op}[{self.id}]")

    @property
    def bound(self) -> Bound:
        """How far the numbers may be off."""
        return bound(self.op, self.column, max(p for step in self.steps for p in step.positions))

    def write(self, path: Path) -> Path:
        """The weights as a GGUF file."""
        random = self._random("weights")
        writer = gguf.GGUFWriter(path, "conformance")
        for name, value in self.operands.items():
            if isinstance(value, WeightData):
                kind = gguf.GGMLQuantizationType(tensor_type(value.kind).code)
                writer.add_tensor(name, value.blocks(random), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    def runs(self, chunk: int) -> Iterator[tuple[dict[str, Array], Step]]:
        """Inputs of each run of at most `chunk` tokens."""
        random = self._random("inputs")
        for step in self.steps:
            values = {
                name: self._activations(spec, step.tokens, random)
                for name, spec in self.operands.items()
                if isinstance(spec, TensorSpec) and name not in ("positions", "slots", "rows")
            }
            for part in step.cut(chunk):
                first = part.before - step.before
                yield {n: v[first : first + part.tokens] for n, v in values.items()}, part

    def _activations(self, spec: TensorSpec, tokens: int, random: np.random.Generator) -> Array:
        if spec.dtype == "i32":
            (table,) = (v for v in self.operands.values() if isinstance(v, WeightData))
            ids = random.integers(0, table.shape[0], tokens).astype(np.int32)
            ids[0], ids[-1] = 0, table.shape[0] - 1
            return ids
        width = int(spec.shape[1])
        return random.standard_normal((tokens, width), np.float32) * np.float32(self.spread)

    def _random(self, what: str) -> np.random.Generator:
        return np.random.default_rng(zlib.crc32(f"{what} {self.op} {self.id}".encode()))


def activations(width: int) -> TensorSpec:
    """One row a token."""
    return TensorSpec((TOKENS, width))


TOKEN_IDS = TensorSpec((TOKENS,), "i32")
POSITIONS = SLOTS = TOKEN_IDS
ROW_IDS = TensorSpec((ROWS,), "i32")
