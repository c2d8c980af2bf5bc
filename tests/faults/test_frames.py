"""Any chunking of frames gives the same messages; any bytes give messages or BadFrame, bounded."""

from __future__ import annotations

import struct
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forge.frames import ANSWER_BYTES, Assembler, BadFrame, frame
from forge.messages import Answer, Beat, Block, Failed, Finished, Hello, Loaded, Started, Tokens

COUNTS = st.integers(0, 2**31 - 1)
ANSWERS = st.one_of(
    st.builds(Hello, COUNTS),
    st.builds(Beat, COUNTS, st.sampled_from(["load", "check", "prefill"]), COUNTS, COUNTS),
    st.builds(Loaded, COUNTS, COUNTS, st.integers(1, 2**24), st.lists(st.text())),
    st.builds(Started, COUNTS, COUNTS),
    st.builds(Tokens, COUNTS, st.lists(COUNTS, min_size=1)),
    st.builds(Block, COUNTS, COUNTS, st.integers(1, 2**31 - 1)),
    st.builds(Finished, COUNTS, st.sampled_from(["stop", "length", "context", "cancelled"])),
    st.builds(Failed, COUNTS, st.text(), st.text()),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def assembled(data: bytes, sizes: list[int]) -> list[object]:
    """What comes of the bytes when they arrive in pieces of those sizes; the rest in one."""
    assembler: Assembler[Answer] = Assembler(Answer, ANSWER_BYTES)
    found: list[object] = []
    for size in [*sizes, len(data)]:
        piece, data = data[:size], data[size:]
        assembler.feed(piece)
        while (message := assembler.take()) is not None:
            found.append(message)
    return found


@given(st.lists(ANSWERS), st.lists(st.integers(0, 12), max_size=60))
def test_any_chunking_gives_the_same_messages(messages, sizes) -> None:
    assert assembled(b"".join(map(frame, messages)), sizes) == messages


@given(st.binary(max_size=400), st.lists(st.integers(0, 20), max_size=20))
def test_any_bytes_give_messages_or_a_bad_frame(data, sizes) -> None:
    try:
        found = assembled(data, sizes)
    except BadFrame:
        return
    assert all(isinstance(message, get_args(Answer)) for message in found)


@given(JSON, st.sampled_from([kind.__name__ for kind in get_args(Answer)]), st.lists(JSON))
def test_any_msgpack_gives_a_message_or_a_bad_frame(value, tag, fields) -> None:
    for body in (value, [tag, *fields], [tag, 3, *fields]):
        packed = msgspec.msgpack.encode(body)
        try:
            (message,) = assembled(struct.pack("<I", len(packed)) + packed, [])
        except BadFrame:
            continue
        assert isinstance(message, get_args(Answer))


@given(st.lists(ANSWERS, min_size=1, max_size=4), st.data())
def test_one_changed_byte_gives_messages_or_a_bad_frame(messages, data) -> None:
    noise = bytearray(b"".join(map(frame, messages)))
    noise[data.draw(st.integers(0, len(noise) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = assembled(bytes(noise), [])
    except BadFrame:
        return
    assert all(isinstance(message, get_args(Answer)) for message in found)


@pytest.mark.parametrize("length", [ANSWER_BYTES + 1, 2**31, 2**32 - 1])
def test_a_length_beyond_the_bound_is_refused_before_a_byte_of_it_is_kept(length) -> None:
    assembler: Assembler[Answer] = Assembler(Answer, ANSWER_BYTES)
    assembler.feed(struct.pack("<I", length))
    with pytest.raises(BadFrame, match=str(length)):
        assembler.take()


def test_a_message_beyond_the_bound_is_not_sent() -> None:
    with pytest.raises(BadFrame):
        frame(Failed(1, "BackendError", "x" * ANSWER_BYTES), ANSWER_BYTES)
