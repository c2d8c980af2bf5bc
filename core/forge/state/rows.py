"""Rows of JSON, each with a checksum: a changed byte is found, never believed."""

from __future__ import annotations

import math
import zlib
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from forge.state.trouble import Damaged

if TYPE_CHECKING:
    from sqlite3 import Connection

_T = TypeVar("_T")


class Rows(Generic[_T]):
    """One table, whose rows are dataclasses of one kind. Call it within a transaction."""

    def __init__(self, connection: Connection, table: str, kind: type[_T]) -> None:
        self._connection = connection
        self._table = table
        self._kind = kind

    def all(self) -> dict[int, _T]:
        """Every row by its id, the oldest first. Raises Damaged for one that is not whole."""
        query = f"SELECT id, body, sum FROM {self._table} ORDER BY id"
        return {number: self._decode(body, sum_) for number, body, sum_ in self._rows(query)}

    def _rows(self, query: str) -> list[tuple[int, object, object]]:
        return self._connection.execute(query).fetchall()

    def _decode(self, body: object, sum_: object) -> _T:
        if not isinstance(body, bytes) or sum_ != self._sum(body):
            raise Damaged(f"a row of {self._table} is not what was written")
        try:
            return msgspec.json.decode(body, type=self._kind)
        except msgspec.MsgspecError as error:
            raise Damaged(f"a row of {self._table}: {error}") from None

    def _encode(self, row: _T) -> tuple[str, int]:
        body = msgspec.json.encode(_sound(msgspec.to_builtins(row)))
        return body.decode(), self._sum(body)

    def _sum(self, body: bytes) -> int:
        return zlib.crc32(body, zlib.crc32(self._table.encode()))

    def add(self, row: _T) -> int:
        """Append a row; its id."""
        query = f"INSERT INTO {self._table} (body, sum) VALUES (?, ?)"
        return self._connection.execute(query, self._encode(row)).lastrowid or 0

    def replace(self, number: int, row: _T) -> None:
        """Another row under the same id; nothing if that is gone."""
        query = f"UPDATE {self._table} SET body = ?, sum = ? WHERE id = ?"
        self._connection.execute(query, (*self._encode(row), number))

    def remove(self, number: int) -> None:
        """Take a row out."""
        self._connection.execute(f"DELETE FROM {self._table} WHERE id = ?", (number,))


def _sound(value: Any) -> Any:
    """Names from the file system may hold what is no Unicode, times what is no number."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    if isinstance(value, float):
        return value if math.isfinite(value) else 0.0
    if isinstance(value, dict):
        return {_sound(name): _sound(item) for name, item in value.items()}
    return value
