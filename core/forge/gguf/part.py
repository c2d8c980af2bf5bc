"""One file: its header, its metadata, its tensors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from forge.gguf.cursor import Cursor
from forge.gguf.mapping import MappedFile
from forge.gguf.metadata import MAX_KEYS, SMALLEST_ENTRY, Metadata, read_metadata
from forge.gguf.tensors import MAX_TENSORS, SMALLEST_TENSOR, Tensor, read_tensors

DEFAULT_ALIGNMENT = 32
MAX_ALIGNMENT = 1 << 24
_HEADER_BYTES = 24

# What people try to open instead, by its first bytes.
_OTHERS = {
    b"FUGG": "a byte-swapped (big-endian) GGUF file; convert the model for little-endian machines",
    b"lmgg": "a GGML file from before GGUF; get the model in GGUF",
    b"fmgg": "a GGML file from before GGUF; get the model in GGUF",
    b"tjgg": "a GGML file from before GGUF; get the model in GGUF",
    b"PK\x03\x04": "a zip archive (PyTorch weights?); get the model in GGUF",
    b"vers": "perhaps a Git LFS pointer; run `git lfs pull`",
    b"<!DO": "a web page; the download went wrong",
    b"<htm": "a web page; the download went wrong",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One mapped and checked file."""

    source: MappedFile
    version: int
    metadata: Metadata
    tensors: dict[str, Tensor]

    @property
    def path(self) -> Path:
        """The file's path, as it was given."""
        return self.source.path


def read_part(path: Path, index: int = 0) -> Part:
    """Map and check one file, part `index` of its set."""
    source = MappedFile(path)
    try:
        return _parse(source, index)
    except BaseException:
        source.close()
        raise


def _parse(source: MappedFile, index: int) -> Part:
    cursor = Cursor(source.buffer, source.path)
    version = _read_version(cursor)
    n_tensors = _read_count(cursor, "tensor count", SMALLEST_TENSOR, MAX_TENSORS)
    n_keys = _read_count(cursor, "key count", SMALLEST_ENTRY, MAX_KEYS)
    metadata = read_metadata(cursor, n_keys, source)
    alignment = _alignment(metadata)
    return Part(source, version, metadata, read_tensors(cursor, n_tensors, alignment, index))


def _read_version(cursor: Cursor) -> int:
    magic = bytes(cursor.buffer[:4])
    if b"GGUF".startswith(magic) and cursor.left < _HEADER_BYTES:
        what = f"truncated: {cursor.left} bytes in all; download it again"
        raise cursor.fail("header", what if magic else "an empty file")
    if magic != b"GGUF":
        other = _OTHERS.get(magic, "not a GGUF file")
        raise cursor.fail("magic", f"{magic!r} instead of b'GGUF': {other}", 0)
    cursor.skip(4)
    version = cursor.u32("version")
    if version in (2, 3):
        return version
    what = f"version {version}, forge reads 2 and 3"
    if version == 1:
        what = "version 1, forge reads 2 and 3; convert the model again with a current tool"
    elif version & 0xFFFF == 0 and version:
        what = "a big-endian file; convert the model for little-endian machines"
    raise cursor.fail("version", what, 4)


def _read_count(cursor: Cursor, field: str, each: int, most: int) -> int:
    start = cursor.offset
    count = cursor.count(field, each)
    if count > most:
        raise cursor.fail(field, f"says {count}, forge reads no more than {most}", start)
    return count


def _alignment(metadata: Metadata) -> int:
    key = "general.alignment"
    alignment = metadata.get_typed(key, int)
    if alignment is None:
        return DEFAULT_ALIGNMENT
    if not 0 < alignment <= MAX_ALIGNMENT or alignment & (alignment - 1):
        what = f"{alignment}, must be a power of two up to {MAX_ALIGNMENT}"
        raise metadata.fail(key, what)
    return alignment
