"""Builds GGUF files byte by byte, wrong ones too: any count, code and offset can be a lie.

Independent of forge.gguf and of the gguf package on purpose; written after the specification
(ggml/docs/gguf.md).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
LAYOUTS = dict(
    zip((U8, I8, U16, I16, U32, I32, F32, BOOL, U64, I64, F64), "BbHhIif?Qqd", strict=True)
)


def u32(value: int) -> bytes:
    return struct.pack("<I", value)


def u64(value: int) -> bytes:
    return struct.pack("<Q", value)


def text(value: str | bytes, length: int | None = None) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return u64(len(raw) if length is None else length) + raw


def number(code: int, value: float) -> bytes:
    return struct.pack("<" + LAYOUTS[code], value)


def array(code: int, payload: list[bytes], count: int | None = None) -> bytes:
    return u32(code) + u64(len(payload) if count is None else count) + b"".join(payload)


@dataclass
class TensorEntry:
    name: str | bytes
    ne: tuple[int, ...]
    code: int
    offset: int
    n_dims: int | None = None

    def build(self) -> bytes:
        n_dims = len(self.ne) if self.n_dims is None else self.n_dims
        dims = b"".join(u64(n) for n in self.ne)
        return text(self.name) + u32(n_dims) + dims + u32(self.code) + u64(self.offset)


@dataclass
class FileBuilder:
    magic: bytes = b"GGUF"
    version: int = 3
    keys: list[bytes] = field(default_factory=list)
    tensors: list[TensorEntry] = field(default_factory=list)
    data: bytes = b""
    alignment: int = 32
    n_keys: int | None = None
    n_tensors: int | None = None

    def key(self, name: str | bytes, code: int, payload: bytes) -> FileBuilder:
        """Add a key of type `code`; `payload` is the value as it is stored."""
        self.keys.append(text(name) + u32(code) + payload)
        return self

    def string(self, name: str, value: str | bytes) -> FileBuilder:
        return self.key(name, STRING, text(value))

    def number(self, name: str | bytes, code: int, value: float) -> FileBuilder:
        return self.key(name, code, number(code, value))

    def tensor(self, name: str | bytes, ne: tuple[int, ...], code: int, data: bytes) -> FileBuilder:
        """Add a tensor that is right: its data follow the others', aligned."""
        self.data += bytes(-len(self.data) % self.alignment)
        self.tensors.append(TensorEntry(name, ne, code, len(self.data)))
        self.data += data
        return self

    def entry(self, *args: object, **named: object) -> FileBuilder:
        """Add a tensor description alone, in any state."""
        self.tensors.append(TensorEntry(*args, **named))  # type: ignore[arg-type] # lies allowed
        return self

    def header(self) -> bytes:
        n_tensors = len(self.tensors) if self.n_tensors is None else self.n_tensors
        n_keys = len(self.keys) if self.n_keys is None else self.n_keys
        head = self.magic + u32(self.version) + u64(n_tensors) + u64(n_keys)
        return head + b"".join(self.keys) + b"".join(t.build() for t in self.tensors)

    def build(self) -> bytes:
        header = self.header()
        if not self.tensors:
            return header
        return header + bytes(-len(header) % self.alignment) + self.data


def whole_file(version: int = 3) -> FileBuilder:
    """A small right file with something of everything."""
    file = FileBuilder(version=version)
    file.string("general.architecture", "llama")
    for code, letter in LAYOUTS.items():
        file.number(f"one.{letter}", code, 1)
        file.key(f"many.{letter}", ARRAY, array(code, [number(code, v) for v in (0, 1, 1)]))
    file.key("tokens", ARRAY, array(STRING, [text(t) for t in ("a", "", "é▁", b"\xff\x80")]))
    inner = array(U16, [number(U16, 7), number(U16, 8)])
    strings = array(STRING, [text("x")])
    file.key("nested", ARRAY, array(ARRAY, [inner, strings, array(ARRAY, [inner])]))
    file.tensor("norm", (4,), 0, struct.pack("<4f", 1, 2, 3, 4))
    return file.tensor("weight", (64, 3), 3, bytes(range(120)))


def split_part(number: int, count: int = 3, total: int = 3) -> FileBuilder:
    """Part `number` (from 1) of a set as llama.cpp's gguf-split writes it: one tensor each."""
    file = FileBuilder()
    if number == 1:
        file.string("general.architecture", "llama")
    file.number("split.no", U16, number - 1)
    file.number("split.count", U16, count)
    file.number("split.tensors.count", I32, total)
    return file.tensor(f"t{number}", (4,), 24, bytes([number] * 4))
