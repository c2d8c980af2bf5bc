"""The values of metadata: one reader that checks them and, when asked, builds them.

Opening a file checks every value (`build=False`, nothing is allocated). The first access to one
builds it through the same checks: whoever can write to the file may have changed it since.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

from forge.errors import GGUFError
from forge.gguf.cursor import Cursor

Value = bool | int | float | str | npt.NDArray[Any] | list[Any]
"""Numeric arrays are read-only 1-D numpy arrays; arrays of strings or of arrays are lists."""

MAX_DEPTH = 8
"""Arrays within arrays; no known file nests them at all, the format allows any depth."""

_NESTED_COST = 16  # strings that could be walked over in the time an inner array takes

BOOL, STRING, ARRAY = 7, 8, 9


@dataclass(frozen=True, slots=True)
class _Scalar:
    layout: struct.Struct
    dtype: np.dtype[Any]


# `enum gguf_type` (gguf.h): the letters are struct's and numpy's for the same number.
_SCALARS: Mapping[int, _Scalar] = MappingProxyType(
    {
        0: _Scalar(struct.Struct("<B"), np.dtype("<u1")),
        1: _Scalar(struct.Struct("<b"), np.dtype("<i1")),
        2: _Scalar(struct.Struct("<H"), np.dtype("<u2")),
        3: _Scalar(struct.Struct("<h"), np.dtype("<i2")),
        4: _Scalar(struct.Struct("<I"), np.dtype("<u4")),
        5: _Scalar(struct.Struct("<i"), np.dtype("<i4")),
        6: _Scalar(struct.Struct("<f"), np.dtype("<f4")),
        BOOL: _Scalar(struct.Struct("<?"), np.dtype("?")),
        10: _Scalar(struct.Struct("<Q"), np.dtype("<u8")),
        11: _Scalar(struct.Struct("<q"), np.dtype("<i8")),
        12: _Scalar(struct.Struct("<d"), np.dtype("<f8")),
    }
)
_LENGTH = struct.Struct("<Q")


def read_value(cursor: Cursor, code: int, field: str, *, build: bool, depth: int = 0) -> Any:
    """Read the value of type `code` at the cursor; returns it if `build`, else None."""
    if (scalar := _SCALARS.get(code)) is not None:
        return _read_scalar(cursor, scalar, field)
    if code == STRING:
        length = cursor.count(f"{field} length", 1)
        start = cursor.offset
        cursor.skip(length)
        return (
            str(cursor.buffer[start : cursor.offset], "utf-8", "surrogateescape") if build else None
        )
    if code == ARRAY:
        return _read_array(cursor, field, build, depth)
    raise cursor.fail(field, f"unknown type {code}", cursor.offset - 4)


def _read_scalar(cursor: Cursor, scalar: _Scalar, field: str) -> Any:
    cursor.need(scalar.dtype.itemsize, field)
    start = cursor.offset
    cursor.skip(scalar.dtype.itemsize)
    if scalar.dtype.char == "?" and cursor.buffer[start] > 1:
        raise cursor.fail(field, f"a bool must be 0 or 1, not {cursor.buffer[start]}", start)
    return scalar.layout.unpack_from(cursor.buffer, start)[0]


def _read_array(cursor: Cursor, field: str, build: bool, depth: int) -> Any:
    start = cursor.offset
    if depth == MAX_DEPTH:
        raise cursor.fail(field, f"arrays nested more than {MAX_DEPTH} deep")
    code = cursor.u32(f"{field} element type")
    if (scalar := _SCALARS.get(code)) is not None:
        return _read_numbers(cursor, scalar, field, build)
    if code == STRING:
        count = cursor.count(f"{field} count", 8)
        cursor.spend(count, field)
        return (
            _build_strings(cursor, count, field) if build else _walk_strings(cursor, count, field)
        )
    if code == ARRAY:
        count = cursor.count(f"{field} count", 12)
        cursor.spend(_NESTED_COST * count, field)
        items = (
            read_value(cursor, ARRAY, f"{field}[{i}]", build=build, depth=depth + 1)
            for i in range(count)
        )
        if build:
            return list(items)
        for _ in items:
            pass
        return None
    raise cursor.fail(f"{field} element type", f"unknown type {code}", start)


def _read_numbers(
    cursor: Cursor, scalar: _Scalar, field: str, build: bool
) -> npt.NDArray[Any] | None:
    dtype = scalar.dtype
    count = cursor.count(f"{field} count", dtype.itemsize)
    start = cursor.offset
    cursor.skip(count * dtype.itemsize)
    if dtype.char == "?" and count:
        data = np.frombuffer(cursor.buffer, np.uint8, count, start)
        if data.max() > 1:
            first = int(np.argmax(data > 1))
            raise cursor.fail(
                f"{field}[{first}]", f"a bool must be 0 or 1, not {data[first]}", start + first
            )
    return np.frombuffer(cursor.buffer[start : cursor.offset], dtype) if build else None


# The next two loops see each string of a vocabulary: no calls in them but those into C.


def _walk_strings(cursor: Cursor, count: int, field: str) -> None:
    buffer, end, length_at = cursor.buffer, cursor.end, _LENGTH.unpack_from
    index, start, offset = 0, 0, cursor.offset
    try:
        for index in range(count):
            start = offset + 8
            offset = start + length_at(buffer, offset)[0]
            if offset > end:
                raise _overrun(cursor, start - 8, f"{field}[{index}]")
    except struct.error:
        raise _overrun(cursor, offset, f"{field}[{index}]") from None
    cursor.offset = offset


def _build_strings(cursor: Cursor, count: int, field: str) -> list[str]:
    buffer, end, length_at = cursor.buffer, cursor.end, _LENGTH.unpack_from
    index, start, offset = 0, 0, cursor.offset
    strings: list[str] = []
    add = strings.append
    try:
        for index in range(count):
            start = offset + 8
            offset = start + length_at(buffer, offset)[0]
            if offset > end:
                raise _overrun(cursor, start - 8, f"{field}[{index}]")
            add(str(buffer[start:offset], "utf-8", "surrogateescape"))
    except struct.error:
        raise _overrun(cursor, offset, f"{field}[{index}]") from None
    cursor.offset = offset
    return strings


def _overrun(cursor: Cursor, offset: int, field: str) -> GGUFError:
    """The error for the string at `offset`, whose length leads out of the file."""
    cursor.offset = offset
    length = cursor.count(f"{field} length", 1)  # raises, and says what is wrong
    return cursor.fail(f"{field} length", f"says {length}: the file changes while it is read")
