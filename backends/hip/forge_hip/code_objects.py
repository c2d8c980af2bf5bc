"""What kernels take of a GPU, as their code object says: registers, shared memory, spills.

The compiler writes it into an ELF note of type NT_AMDGPU_METADATA, in MessagePack (LLVM's "User
Guide for AMDGPU Backend", code object metadata). Only what such notes hold is read here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_MACHINE = 224
"""EM_AMDGPU."""
_NOTES = 4
"""PT_NOTE."""
_METADATA = 32
"""NT_AMDGPU_METADATA."""


class NotACodeObject(Exception):
    """The bytes are no AMDGPU code object, or one that is damaged."""


@dataclass(frozen=True, slots=True)
class Resources:
    """Of one kernel. Registers are for each lane, `lds` and `scratch` bytes."""

    kernel: str
    target: str
    wave: int
    """Lanes."""
    vgpr: int
    sgpr: int
    spills: int
    """Registers of both kinds that had to go to memory."""
    lds: int
    """Of a work group."""
    scratch: int
    """Of a lane: memory, where registers would do."""
    threads: int
    """Of a work group, at most."""
    arguments: int
    """Bytes."""


def resources(code: bytes) -> list[Resources]:
    """What each kernel of a code object takes. Raises NotACodeObject."""
    try:
        found = _metadata(code)
        target = str(found["amdhsa.target"]).rpartition("--")[2]
        return [_of(kernel, target) for kernel in found["amdhsa.kernels"]]
    except (struct.error, IndexError, KeyError, TypeError, ValueError) as error:
        raise NotACodeObject(f"not an AMDGPU code object: {error!r}") from error


def _of(kernel: dict[str, Any], target: str) -> Resources:
    return Resources(
        kernel=kernel[".name"],
        target=target,
        wave=kernel[".wavefront_size"],
        vgpr=kernel[".vgpr_count"],
        sgpr=kernel[".sgpr_count"],
        spills=kernel[".vgpr_spill_count"] + kernel[".sgpr_spill_count"],
        lds=kernel[".group_segment_fixed_size"],
        scratch=kernel[".private_segment_fixed_size"],
        threads=kernel[".max_flat_workgroup_size"],
        arguments=kernel[".kernarg_segment_size"],
    )


def _metadata(code: bytes) -> dict[str, Any]:
    if code[:5] != b"\x7fELF\x02" or struct.unpack_from("<H", code, 18)[0] != _MACHINE:
        raise ValueError("no 64-bit ELF file for AMDGPU")
    (headers,) = struct.unpack_from("<Q", code, 32)
    size, count = struct.unpack_from("<HH", code, 54)
    for index in range(count):
        kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", code, headers + index * size)
        if kind != _NOTES:
            continue
        at = start
        while at < start + length:
            name_size, data_size, note = struct.unpack_from("<III", code, at)
            data = at + 12 + _aligned(name_size)
            if note == _METADATA and code[at + 12 : at + 18] == b"AMDGPU":
                made = _Reader(code[data : data + data_size]).value()
                if isinstance(made, dict):
                    return made
                raise ValueError("its metadata is no map")
            at = data + _aligned(data_size)
    raise ValueError("it has no metadata")


def _aligned(size: int) -> int:
    return -(-size // 4) * 4


class _Reader:
    """MessagePack, as far as metadata goes: maps, lists, words, whole numbers and truth values."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def value(self) -> Any:
        tag = self._number("B")
        if tag < 0x80:
            return tag
        if tag >= 0xE0:
            return tag - 256
        if tag < 0x90:
            return self._map(tag & 15)
        if tag < 0xA0:
            return self._list(tag & 15)
        if tag < 0xC0:
            return self._text(tag & 31)
        if tag not in _TAGS:
            raise ValueError(f"MessagePack's tag {tag:#x}")
        return _TAGS[tag](self)

    def _number(self, kind: str) -> int:
        (found,) = struct.unpack_from(">" + kind, self._data, self._at)
        self._at += struct.calcsize(">" + kind)
        return int(found)

    def _map(self, count: int) -> dict[Any, Any]:
        return {self.value(): self.value() for _ in range(count)}

    def _list(self, count: int) -> list[Any]:
        return [self.value() for _ in range(count)]

    def _text(self, size: int) -> str:
        text = self._data[self._at : self._at + size]
        self._at += size
        return text.decode()


_TAGS: dict[int, Callable[[_Reader], Any]] = {
    0xC0: lambda _: None,
    0xC2: lambda _: False,
    0xC3: lambda _: True,
    **{
        tag: lambda reader, kind=kind: reader._number(kind)  # type: ignore[misc]  # its default
        for tag, kind in zip(range(0xCC, 0xD4), "BHIQbhiq", strict=True)
    },
    **{
        first + index: lambda reader, kind=kind, read=read: read(  # type: ignore[misc]  # its default
            reader, reader._number(kind)
        )
        for first, read in ((0xDC, _Reader._list), (0xDE, _Reader._map))
        for index, kind in enumerate("HI")
    },
    **{
        0xD9 + index: lambda reader, kind=kind: reader._text(reader._number(kind))  # type: ignore[misc]  # its default
        for index, kind in enumerate("BHI")
    },
}
