"""The words a graph is written in: ops, tensors, weights, state and nodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

from forge.errors import UnsupportedModel
from forge.gguf import tensor_type

Dim: TypeAlias = int | str
Attr: TypeAlias = bool | int | float | str | tuple[float, ...]

TOKENS = "T"
"""The symbol for the number of tokens in one run."""
ROWS = "R"
"""The symbol for the number of rows whose outputs are wanted."""
STATE_BYTES = {"f32": 4.0, "f16": 2.0, "q8_0": 34 / 32}
"""Bytes of an element of the state, by type; q8_0 has a scale for 32 of one head."""


class Op(StrEnum):
    """What a node computes. Rules: `forge.graph.signatures`; meaning: `forge.reference`."""

    EMBED = "embed"
    RMS_NORM = "rms_norm"
    LAYER_NORM = "layer_norm"
    MATMUL = "matmul"
    ADD = "add"
    MUL = "mul"
    ROPE = "rope"
    ATTENTION = "attention"
    SILU_MUL = "silu_mul"
    GELU_MUL = "gelu_mul"
    SOFTCAP = "softcap"
    SCALE = "scale"
    SELECT_ROWS = "select_rows"
    EXPERTS = "experts"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape (outermost first; a string is a symbol bound at run time) and element type."""

    shape: tuple[Dim, ...]
    dtype: str = "f32"

    def fault(self) -> str:
        """Which rule it breaks in itself, "" for none."""
        if self.dtype not in ("f32", "i32"):
            return f"type {self.dtype} is not f32 or i32"
        return _bad_sizes(tuple(n for n in self.shape if isinstance(n, int)), self.shape)

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


def _bad_sizes(sizes: tuple[int, ...], shape: tuple[Dim, ...]) -> str:
    return "" if shape and all(n > 0 for n in sizes) else f"shape {list(shape)} is empty"


@dataclass(frozen=True, slots=True)
class WeightSpec:
    """A tensor of the model's file, or a range of its rows (one part of a fused weight).

    `shape` is what the graph sees, after the range was taken; it may have dimensions of 1 in front
    that the file does not. `dtype` is GGML's type in lower case.
    """

    tensor: str
    shape: tuple[int, ...]
    dtype: str
    rows: tuple[int, int] | None = None

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    def fault(self) -> str:
        """Which rule it breaks in itself, "" for none."""
        try:
            block = tensor_type(self.dtype).block_size
        except UnsupportedModel as error:
            return str(error)
        if bad := _bad_sizes(self.shape, self.shape):
            return bad
        if self.shape[-1] % block:
            return f"rows of {self.shape[-1]} are not whole blocks of {block} ({self.dtype})"
        if self.rows and len(self.shape) == 1 and block > 1:
            return f"a range of a vector of blocks ({self.dtype})"
        if self.rows and not 0 <= self.rows[0] < self.rows[1] == self.rows[0] + self.shape[0]:
            return f"rows {self.rows} do not give the shape {list(self.shape)}"
        return ""

    @property
    def bytes(self) -> int:
        """What it takes in the file."""
        kind = tensor_type(self.dtype)
        return self.elements // kind.block_size * kind.block_bytes

    def __str__(self) -> str:
        part = f" rows {self.rows[0]}..{self.rows[1]}" if self.rows else ""
        return f"{self.dtype}[{', '.join(map(str, self.shape))}] of {self.tensor}{part}"


@dataclass(frozen=True, slots=True)
class StateSpec:
    """What survives from run to run: a key or value cache [slots, heads, capacity, head size].

    A backend may keep it in a layout and type of its own; `dtype` is what the graph asks for.
    """

    slots: int
    heads: int
    capacity: int
    size: int
    dtype: str = "f32"

    def fault(self) -> str:
        """Which rule it breaks in itself, "" for none."""
        if self.dtype not in STATE_BYTES:
            return f"type {self.dtype} is not {' or '.join(STATE_BYTES)}"
        if self.dtype == "q8_0" and self.size % 32:
            return f"heads of {self.size} are not whole blocks of 32 ({self.dtype})"
        return _bad_sizes(self.shape, self.shape)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[slots, heads, capacity, head size]."""
        return self.slots, self.heads, self.capacity, self.size

    @property
    def elements(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """What it takes in its type."""
        return int(self.elements * STATE_BYTES[self.dtype])

    def __str__(self) -> str:
        return f"{self.dtype}[{', '.join(map(str, self.shape))}]"


@dataclass(frozen=True, slots=True)
class Node:
    """One op applied to named values; the node's name is also its output's.

    `layer` is the transformer layer it belongs to: -1 before the first layer, the number of layers
    after the last one. `Graph.split` cuts between layers.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    attrs: Mapping[str, Attr] = field(default_factory=dict[str, Attr])
    layer: int = -1
