"""The tensors of a file: their descriptions, checked against each other and the file's size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from forge.errors import GGUFError
from forge.gguf.cursor import Cursor
from forge.gguf.errors import show
from forge.gguf.types import REMOVED_TYPES, TENSOR_TYPES, TensorType

MAX_TENSORS = 1 << 18
"""Tensors in one file; the largest known model with one tensor per expert has 50 k."""

MAX_NAME_BYTES = 1024
"""The specification says 64; some writers go past it."""

MAX_DIMS = 4
SMALLEST_TENSOR = 8 + 1 + 4 + 8 + 4 + 8
_INT64_MAX = (1 << 63) - 1  # GGML counts weights and bytes in int64


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor lies and how to read it; `shape` is row-major, GGML's `ne` reversed."""

    name: str
    shape: tuple[int, ...]
    type: TensorType
    nbytes: int
    offset: int
    """From the start of its file."""
    part: int = 0
    """Which file of a split set, an index into `GGUFFile.parts`."""


def read_tensors(cursor: Cursor, count: int, alignment: int, part: int) -> dict[str, Tensor]:
    """Read `count` descriptions from the cursor on; every tensor lies inside the file, alone."""
    described: dict[str, tuple[tuple[int, ...], TensorType, int, int, int]] = {}
    for index in range(count):
        start = cursor.offset
        name = cursor.text(f"name of tensor {index}", MAX_NAME_BYTES)
        if name in described:
            raise cursor.fail(f"name of tensor {index}", f"{show(name)} is there twice", start)
        described[name] = _read_description(cursor, f"tensor {show(name)}", alignment)
    data = -(-cursor.offset // alignment) * alignment
    tensors = {
        name: Tensor(name, shape, kind, nbytes, data + offset, part)
        for name, (shape, kind, nbytes, offset, _) in described.items()
    }
    fields = {name: field for name, (*_, field) in described.items()}
    _check_places(cursor, tensors, fields)
    return tensors


def _read_description(
    cursor: Cursor, field: str, alignment: int
) -> tuple[tuple[int, ...], TensorType, int, int, int]:
    start = cursor.offset
    n_dims = cursor.u32(f"{field} dimensions")
    if not 1 <= n_dims <= MAX_DIMS:
        raise cursor.fail(f"{field} dimensions", f"{n_dims}, must be 1 to {MAX_DIMS}", start)
    start = cursor.offset
    ne = tuple(cursor.u64(f"{field} shape") for _ in range(n_dims))
    if 0 in ne:
        raise cursor.fail(f"{field} shape", f"{_shape(ne)} has a dimension of 0", start)
    kind = _read_type(cursor, field)
    if ne[0] % kind.block_size:
        raise cursor.fail(
            f"{field} shape",
            f"rows of {ne[0]} are not whole blocks of {kind.block_size} ({kind.name})",
            start,
        )
    if max(math.prod(ne), nbytes := kind.row_bytes(ne[0]) * math.prod(ne[1:])) > _INT64_MAX:
        raise cursor.fail(f"{field} shape", f"{_shape(ne)} is more than 63 bits can count", start)
    start = cursor.offset
    offset = cursor.u64(f"{field} offset")
    if offset % alignment:
        raise cursor.fail(f"{field} offset", f"{offset}, not a multiple of {alignment}", start)
    return ne[::-1], kind, nbytes, offset, start


def _shape(ne: tuple[int, ...]) -> str:
    return " x ".join(map(str, ne))


def _read_type(cursor: Cursor, field: str) -> TensorType:
    start = cursor.offset
    code = cursor.u32(f"{field} type")
    if (kind := TENSOR_TYPES.get(code)) is not None:
        return kind
    what = f"unknown tensor type {code}"
    if (removed := REMOVED_TYPES.get(code)) is not None:
        what = f"tensor type {code} ({removed}) was removed from GGML; get a newer file"
    raise cursor.fail(f"{field} type", what, start)


def _check_places(cursor: Cursor, tensors: dict[str, Tensor], fields: dict[str, int]) -> None:
    """Inside the file and not overlapping; `fields` says where each offset is written."""

    def fail(tensor: Tensor, what: str) -> GGUFError:
        return cursor.fail(f"tensor {show(tensor.name)} offset", what, fields[tensor.name])

    size = len(cursor.buffer)
    for tensor in tensors.values():
        end = tensor.offset + tensor.nbytes
        if end > size:
            raise fail(
                tensor,
                f"its data ends at byte {end}, the file at {size}: truncated, download it again",
            )
    for one, other in pairwise(sorted(tensors.values(), key=lambda tensor: tensor.offset)):
        if one.offset + one.nbytes > other.offset:
            raise fail(other, f"its data overlaps that of {show(one.name)}")
