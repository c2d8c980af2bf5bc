"""Messages as frames on a byte stream: a length in four little-endian bytes, then msgpack."""

from __future__ import annotations

import struct
from typing import Generic, TypeVar

import msgspec

M = TypeVar("M")

REQUEST_BYTES = 64 << 20
"""The most in a request: millions of token ids."""
ANSWER_BYTES = 1 << 20
"""The most in an answer: names, notes and the checks of a device. More can only be noise."""

_LENGTH = struct.Struct("<I")


class BadFrame(Exception):
    """The bytes are no message."""


def frame(message: msgspec.Struct, largest: int = REQUEST_BYTES) -> bytes:
    """One message with its length."""
    body = msgspec.msgpack.encode(message)
    if len(body) > largest:
        raise BadFrame(f"a message of {len(body)} bytes, the most is {largest}")
    return _LENGTH.pack(len(body)) + body


class Assembler(Generic[M]):
    """Collects bytes as they come and takes whole messages off."""

    def __init__(self, kind: object, largest: int = REQUEST_BYTES) -> None:
        self._decoder: msgspec.msgpack.Decoder[M] = msgspec.msgpack.Decoder(kind)
        self._largest = largest
        self._bytes = bytearray()

    @property
    def pending(self) -> int:
        """Bytes that wait to be taken off."""
        return len(self._bytes)

    def feed(self, data: bytes) -> None:
        """Add what was read."""
        self._bytes += data

    def take(self) -> M | None:
        """The next whole message, if there is one; BadFrame if it is none at all."""
        if len(self._bytes) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._bytes)
        if length > self._largest:
            raise BadFrame(f"a frame of {length} bytes")
        end = _LENGTH.size + length
        if len(self._bytes) < end:
            return None
        body = bytes(self._bytes[_LENGTH.size : end])
        del self._bytes[:end]
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadFrame(str(error)) from None
