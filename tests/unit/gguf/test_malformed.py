"""Each way in which a file can be wrong has its one-line error: file, field, offset, reason."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import pytest

from forge.errors import GGUFError
from forge.gguf import open_gguf

from .builder import (
    ARRAY,
    BOOL,
    F32,
    STRING,
    U8,
    U32,
    U64,
    FileBuilder,
    array,
    number,
    text,
    u32,
    u64,
    whole_file,
)

HUGE = 2**64 - 1
F32_TYPE, Q4_1_TYPE = 0, 3
WEIGHTS = struct.pack("<8f", *range(8))


def new() -> FileBuilder:
    return FileBuilder()


def nested(depth: int) -> bytes:
    payload = array(U8, [b"\1"])
    for _ in range(depth):
        payload = array(ARRAY, [payload])
    return payload


def with_tensor(ne: tuple[int, ...], code: int = 0, offset: int = 0) -> FileBuilder:
    file = new().entry("t", ne, code, offset)
    file.data = bytes(64)
    return file


def aligned(code: int, payload: bytes) -> FileBuilder:
    return new().key("general.alignment", code, payload)


# name: (file, field, byte offset of the field, words of the reason)
CASES: dict[str, tuple[FileBuilder | bytes, str, int, str]] = {
    "an empty file": (b"", "header", 0, "empty"),
    "one byte": (b"G", "header", 0, "truncated: 1 bytes"),
    "only the magic": (b"GGUF", "header", 0, "truncated: 4 bytes"),
    "a header cut short": (new().build()[:23], "header", 0, "truncated"),
    "another magic": (b"RIFF" + bytes(40), "magic", 0, "b'RIFF' instead of b'GGUF'"),
    "a short file of another kind": (b"hi", "magic", 0, "not a GGUF file"),
    "a web page": (b"<!DOCTYPE html>", "magic", 0, "a web page"),
    "a pointer of Git LFS": (b"version https://git-lfs", "magic", 0, "git lfs pull"),
    "a GGML file": (b"tjgg" + bytes(40), "magic", 0, "before GGUF"),
    "a swapped magic": (b"FUGG" + bytes(40), "magic", 0, "big-endian"),
    "a big-endian file": (FileBuilder(version=3 << 24), "version", 4, "big-endian"),
    "version 0": (FileBuilder(version=0), "version", 4, "version 0"),
    "version 1": (FileBuilder(version=1), "version", 4, "version 1"),
    "version 4": (FileBuilder(version=4), "version", 4, "version 4"),
    "too many tensors": (FileBuilder(n_tensors=HUGE), "tensor count", 8, str(HUGE)),
    "too many keys": (FileBuilder(n_keys=HUGE), "key count", 16, "says 18446744073709551615"),
    "an empty key": (new().string("", "value"), "key 0", 24, "0 bytes long"),
    "a key of 65536 bytes": (new().number("k" * 65536, U8, 1), "key 0", 24, "65536 bytes long"),
    "a key past the end": (
        FileBuilder(n_keys=1, keys=[text("abc", HUGE) + bytes(9)]),
        "key 0",
        24,
        "says 18446744073709551615",
    ),
    "a key that is no UTF-8": (new().number(b"ab\xff", U8, 1), "key 0", 34, "UTF-8"),
    "a key twice": (new().number("a", U8, 1).number("a", U8, 2), "key 1", 38, "a is there twice"),
    "an unknown value type": (new().key("a", 13, bytes(8)), "a", 33, "unknown type 13"),
    "a cut value": (new().key("a", U64, bytes(7)), "a", 37, "truncated: needs 8 bytes"),
    "a bool of 2": (new().key("a", BOOL, b"\2"), "a", 37, "0 or 1, not 2"),
    "a string past the end": (
        new().key("a", STRING, text("abc", 4)),
        "a length",
        37,
        "says 4, but the 3 bytes",
    ),
    "an endless string": (new().key("a", STRING, text("", HUGE)), "a length", 37, "says 184467"),
    "a cut array": (new().key("a", ARRAY, u32(U32)), "a count", 41, "truncated"),
    "an array of unknown type": (
        new().key("a", ARRAY, array(99, [])),
        "a element type",
        37,
        "unknown type 99",
    ),
    "an array of numbers past the end": (
        new().key("a", ARRAY, array(U32, [bytes(4)], count=2)),
        "a count",
        41,
        "says 2, but the 4 bytes left hold no more than 1",
    ),
    "an array whose size wraps around": (
        new().key("a", ARRAY, array(U64, [], count=2**61)),
        "a count",
        41,
        "says 2305843009213693952",
    ),
    "an array of strings past the end": (
        new().key("a", ARRAY, array(STRING, [text("ab")], count=HUGE)),
        "a count",
        41,
        "says 18446744073709551615",
    ),
    "an item of an array past the end": (
        new().key("a", ARRAY, array(STRING, [text("x"), text("ab", 100)])),
        "a[1] length",
        58,
        "says 100, but the 2 bytes",
    ),
    "an item whose length wraps around": (
        new().key("a", ARRAY, array(STRING, [text("x", HUGE - 20), text("ab")])),
        "a[0] length",
        49,
        "says 18446744073709551595",
    ),
    "an array that ends before its last item": (
        new().key("a", ARRAY, array(STRING, [text("x" * 16)], count=2)),
        "a[1] length",
        73,
        "truncated",
    ),
    "a bool of 3 in an array": (
        new().key("a", ARRAY, array(BOOL, [b"\0\1\3"], count=3)),
        "a[2]",
        51,
        "0 or 1, not 3",
    ),
    "an array of arrays past the end": (
        new().key("a", ARRAY, array(ARRAY, [array(U8, [])], count=2)),
        "a count",
        41,
        "says 2",
    ),
    "an inner array past the end": (
        new().key("a", ARRAY, array(ARRAY, [array(U8, [b"\0"], count=5)])),
        "a[0] count",
        53,
        "says 5",
    ),
    "arrays nested too deep": (
        new().key("a", ARRAY, nested(8)),
        "a[0][0][0][0][0][0][0][0]",
        133,
        "nested more than 8 deep",
    ),
    "alignment 0": (aligned(U32, u32(0)), "general.alignment", 53, "0, must be a power of two"),
    "alignment 48": (aligned(U32, u32(48)), "general.alignment", 53, "48, must be a power"),
    "a huge alignment": (aligned(U32, u32(1 << 31)), "general.alignment", 53, "2147483648"),
    "alignment as a float": (
        aligned(F32, number(F32, 32)),
        "general.alignment",
        53,
        "is a float, expected an integer",
    ),
    "alignment as a string": (aligned(STRING, text("32")), "general.alignment", 53, "is a string"),
    "no name": (new().entry("", (1,), 0, 0), "name of tensor 0", 24, "0 bytes long"),
    "an endless name": (new().entry("n" * 1025, (1,), 0, 0), "name of tensor 0", 24, "1025 bytes"),
    "a name that is no UTF-8": (
        new().entry(b"\xc3(", (1,), 0, 0),
        "name of tensor 0",
        32,
        "UTF-8",
    ),
    "a name twice": (
        new().tensor("t", (8,), 0, WEIGHTS).tensor("t", (8,), 0, WEIGHTS),
        "name of tensor 1",
        57,
        "t is there twice",
    ),
    "no dimensions": (new().entry("t", (), 0, 0), "tensor t dimensions", 33, "0, must be 1 to 4"),
    "five dimensions": (with_tensor((1,) * 5), "tensor t dimensions", 33, "5, must be 1 to 4"),
    "2^32-1 dimensions": (
        new().entry("t", (1,), 0, 0, n_dims=2**32 - 1),
        "tensor t dimensions",
        33,
        "4294967295",
    ),
    "a dimension of 0": (with_tensor((8, 0)), "tensor t shape", 37, "8 x 0 has a dimension of 0"),
    "a shape that wraps to 0": (
        with_tensor((2**32, 2**32)),
        "tensor t shape",
        37,
        "more than 63 bits",
    ),
    "bytes that wrap to 0": (with_tensor((2**62,)), "tensor t shape", 37, "more than 63 bits"),
    "an unknown tensor type": (with_tensor((8,), 4711), "tensor t type", 45, "unknown .* 4711"),
    "a removed tensor type": (with_tensor((8,), 31), "tensor t type", 45, "Q4_0_4_4.*removed"),
    "a row of half a block": (
        with_tensor((48, 2), Q4_1_TYPE),
        "tensor t shape",
        37,
        "rows of 48 are not whole blocks of 32",
    ),
    "an unaligned offset": (with_tensor((8,), offset=8), "tensor t offset", 49, "multiple of 32"),
    "an offset past the end": (
        with_tensor((8,), offset=64),
        "tensor t offset",
        49,
        "ends at byte 160, the file at 128",
    ),
    "an offset that wraps around": (
        with_tensor((8,), offset=2**64 - 32),
        "tensor t offset",
        49,
        "ends at byte 18446744073709551680",
    ),
    "data cut by one byte": (
        new().tensor("t", (8,), 0, WEIGHTS).build()[:-1],
        "tensor t offset",
        49,
        "ends at byte 96, the file at 95: truncated",
    ),
    "tensors that overlap": (
        new()
        .tensor("a", (16,), 0, WEIGHTS * 2)
        .tensor("b", (8,), 0, WEIGHTS)
        .entry("c", (8,), 0, 32),
        "tensor c offset",
        115,
        "overlaps that of a",
    ),
    "two tensors in one place": (
        new().tensor("a", (8,), 0, WEIGHTS).entry("b", (8,), 0, 0),
        "tensor b offset",
        82,
        "overlaps that of a",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_malformed_file_is_refused_with_field_and_offset(tmp_path: Path, case: str) -> None:
    file, field, offset, words = CASES[case]
    path = tmp_path / "bad.gguf"
    path.write_bytes(file if isinstance(file, bytes) else file.build())
    with pytest.raises(GGUFError, match=words) as caught:
        open_gguf(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: {field} at byte {offset}: ")
    assert message.isprintable()


def test_every_truncation_of_a_file_is_refused(tmp_path: Path) -> None:
    whole = whole_file().build()
    path = tmp_path / "cut.gguf"
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(GGUFError, match=r"cut\.gguf: .* at byte \d+: "):
            open_gguf(path)


def test_arrays_may_be_nested_eight_deep(tmp_path: Path) -> None:
    path = tmp_path / "deep.gguf"
    path.write_bytes(new().key("a", ARRAY, nested(7)).build())
    with open_gguf(path) as file:
        value: object = file.metadata["a"]
        for _ in range(7):
            assert isinstance(value, list)
            (value,) = value


def test_a_hostile_name_does_not_reach_the_terminal(tmp_path: Path) -> None:
    path = tmp_path / "bad\n\x1b[31m.gguf"
    key = "\x1b]0;title\x07\n" * 50
    path.write_bytes(new().key(key, BOOL, b"\2").build())
    with pytest.raises(GGUFError) as caught:
        open_gguf(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    "claim",
    [
        array(U8, [], count=(1 << 33) - 1024),
        array(STRING, [], count=1 << 29),
        array(ARRAY, [], count=1 << 29),
        array(ARRAY, [array(STRING, [], count=1 << 29)]),
        u64((1 << 33) - 1024),
    ],
    ids=["bytes", "strings", "arrays", "strings in an array", "one string"],
)
def test_a_sparse_file_of_terabytes_costs_neither_time_nor_memory(
    tmp_path: Path, claim: bytes
) -> None:
    path = tmp_path / "sparse.gguf"
    file = new().key("a", STRING if len(claim) == 8 else ARRAY, claim)
    path.write_bytes(file.build())
    with path.open("r+b") as stream:
        stream.truncate(1 << 33)  # zeros: they take no room on disk and would last for hours
    tracemalloc.start()
    try:
        with pytest.raises(GGUFError, match=r"sparse\.gguf: a(\[0\])?( count| length)? at byte"):
            open_gguf(path)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("field", "offset"), [("tensor count", 8), ("key count", 16)])
def test_a_count_beyond_reason_is_refused_even_if_the_file_is_large_enough(
    tmp_path: Path, field: str, offset: int
) -> None:
    path = tmp_path / "sparse.gguf"
    path.write_bytes(new().build()[:offset] + u64(1 << 22) + bytes(100))
    with path.open("r+b") as stream:
        stream.truncate(1 << 33)
    with pytest.raises(GGUFError, match=f"{field} at byte {offset}: says 4194304"):
        open_gguf(path)
