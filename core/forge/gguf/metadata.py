"""The metadata of a file: a mapping from key to value, each value built when first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from forge.errors import GGUFError, ModelError
from forge.gguf.cursor import Cursor
from forge.gguf.errors import malformed, show, show_path
from forge.gguf.mapping import MappedFile
from forge.gguf.values import Value, read_value

MAX_KEYS = 1 << 16
"""Keys in one file; known files have fewer than a hundred."""

MAX_KEY_BYTES = 65535
"""The specification's own limit."""

SMALLEST_ENTRY = 8 + 1 + 4 + 1
_T = TypeVar("_T")


_KINDS: Mapping[type[Any], str] = {
    bool: "a bool",
    int: "an integer",
    float: "a float",
    str: "a string",
    list: "an array of strings or arrays",
    np.ndarray: "an array of numbers",
}


class Metadata(Mapping[str, Value]):
    """Key to value, in the file's order. Values are built on first access and then kept."""

    def __init__(self, source: MappedFile, entries: dict[str, tuple[int, int]]) -> None:
        self._source = source
        self._entries = entries  # key to (type code, offset of the value)
        self._built: dict[str, Value] = {}

    def __getitem__(self, key: str) -> Value:
        if (value := self._built.get(key)) is None:
            code, offset = self._entries[key]
            cursor = Cursor(self._source.buffer, self._source.path, offset)
            value = self._built[key] = read_value(cursor, code, show(key), build=True)
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def get_typed(self, key: str, kind: type[_T]) -> _T | None:
        """The value of `key` as a `kind`, None if there is none; another type is an error.

        An integer serves where a float is asked for; nothing else is converted.
        """
        if key not in self._entries:
            return None
        value: object = self[key]
        if kind is float and type(value) is int:
            value = float(value)
        # bool is a subclass of int: a flag is no number here
        if not isinstance(value, kind) or (type(value) is bool and kind is not bool):
            what = f"is {_describe(type(value))}, expected {_describe(kind)}"
            raise self.fail(key, what)
        return value

    def fail(self, key: str, what: str) -> GGUFError:
        """The error that the value of `key`, which must be there, is wrong."""
        return malformed(self._source.path, show(key), self._entries[key][1], what)

    def require(self, key: str, kind: type[_T]) -> _T:
        """The value of `key` as a `kind`; its absence is an error too."""
        if (value := self.get_typed(key, kind)) is None:
            raise ModelError(f"{show_path(self._source.path)}: the key {show(key)} is missing")
        return value


def _describe(kind: type[Any]) -> str:
    return _KINDS.get(kind, f"a {kind.__name__}")


def read_metadata(cursor: Cursor, count: int, source: MappedFile) -> Metadata:
    """Check `count` keys and values from the cursor on; nothing but the keys is built."""
    entries: dict[str, tuple[int, int]] = {}
    for index in range(count):
        start = cursor.offset
        key = cursor.text(f"key {index}", MAX_KEY_BYTES)
        if key in entries:
            raise cursor.fail(f"key {index}", f"{show(key)} is there twice", start)
        code = cursor.u32(f"type of {show(key)}")
        entries[key] = (code, cursor.offset)
        read_value(cursor, code, show(key), build=False)
    return Metadata(source, entries)
