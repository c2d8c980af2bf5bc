"""A place in a mapped file that moves forward over checked fields, and its budgets.

Counts and lengths in a file are claims. Each is compared with the bytes that are left before it is
believed, and the budgets bound what a sparse file (terabytes of zeros that cost its maker nothing)
can make us do.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from forge.errors import GGUFError
from forge.gguf.errors import malformed

MAX_HEADER_BYTES = 256 << 20
"""Metadata and tensor descriptions together; the largest known need 40 MB."""

MAX_ITEMS = 1 << 22
"""Strings and nested arrays in all of the metadata; a 262 k vocabulary with merges has 0.8 M."""

_LIMIT = f"{MAX_HEADER_BYTES >> 20} MiB"
_U32 = struct.Struct("<I")
_U64 = struct.Struct("<Q")


class Cursor:
    """Reads little-endian fields of `buffer` one after the other; every error names the field."""

    __slots__ = ("_items", "buffer", "end", "offset", "path")

    def __init__(self, buffer: mmap.mmap | bytes, path: Path, offset: int = 0) -> None:
        self.buffer = buffer
        self.path = path
        self.offset = offset
        self.end = min(len(buffer), offset + MAX_HEADER_BYTES)
        self._items = MAX_ITEMS

    @property
    def left(self) -> int:
        """The bytes after this place that a header may use."""
        return self.end - self.offset

    def fail(self, field: str, what: str, offset: int | None = None) -> GGUFError:
        """The error that `field`, here or at `offset`, is wrong."""
        return malformed(self.path, field, self.offset if offset is None else offset, what)

    def need(self, nbytes: int, field: str) -> None:
        """Raise unless `nbytes` bytes are left."""
        if nbytes > self.left:
            raise self._short(nbytes, field)

    def _short(self, nbytes: int, field: str) -> GGUFError:
        what = f"truncated: needs {nbytes} bytes, the file has {self.left} more; download it again"
        if self.end < len(self.buffer):
            what = f"needs {nbytes} bytes, past the {_LIMIT} that a header may have"
        return self.fail(field, what)

    def u32(self, field: str) -> int:
        """The next 32-bit number."""
        self.need(4, field)
        value: int = _U32.unpack_from(self.buffer, self.offset)[0]
        self.offset += 4
        return value

    def u64(self, field: str) -> int:
        """The next 64-bit number."""
        self.need(8, field)
        value: int = _U64.unpack_from(self.buffer, self.offset)[0]
        self.offset += 8
        return value

    def count(self, field: str, each: int) -> int:
        """The next 64-bit number, a count of things that take at least `each` bytes each."""
        start = self.offset
        value = self.u64(field)
        most = self.left // each
        if value > most:
            what = f"says {value}, but the {self.left} bytes left hold no more than {most}"
            if self.end < len(self.buffer):
                what += f" (a header may have {_LIMIT})"
            raise self.fail(field, what, start)
        return value

    def skip(self, nbytes: int) -> None:
        """Move over `nbytes` bytes that `need` or `count` has seen to be there."""
        self.offset += nbytes

    def raw(self, nbytes: int, field: str) -> bytes:
        """The next `nbytes` bytes."""
        self.need(nbytes, field)
        start = self.offset
        self.offset += nbytes
        return self.buffer[start : self.offset]

    def text(self, field: str, longest: int) -> str:
        """The next string, which must be valid UTF-8 of 1 to `longest` bytes."""
        start = self.offset
        length = self.count(field, 1)
        if not 0 < length <= longest:
            raise self.fail(field, f"{length} bytes long, must be 1 to {longest}", start)
        try:
            return self.raw(length, field).decode()
        except UnicodeDecodeError as error:
            raise self.fail(field, "not valid UTF-8", start + 8 + error.start) from None

    def spend(self, items: int, field: str) -> None:
        """Take `items` off the budget of strings and nested arrays."""
        if items > self._items:
            raise self.fail(field, f"more than {MAX_ITEMS} strings and nested arrays in all")
        self._items -= items
