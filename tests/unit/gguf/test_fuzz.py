"""Whatever the bytes: a file opens, or a ForgeError says why not; never another exception.

The draws are derandomised, so a run finds what the last one found. For a search, raise the number:
`FORGE_FUZZ=100000 pytest tests/unit/gguf/test_fuzz.py --timeout 0`.
"""

from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from forge.errors import ForgeError
from forge.gguf import open_gguf

from .builder import (
    ARRAY,
    BOOL,
    LAYOUTS,
    STRING,
    FileBuilder,
    TensorEntry,
    array,
    split_part,
    text,
    u32,
    whole_file,
)

SEARCH = int(os.environ.get("FORGE_FUZZ", "0"))
MOST_BYTES = 4 << 20  # what a file of some kilobytes may make the reader allocate

# Numbers at the edges of what a count, a length or an offset may be.
EDGES = [0, 1, 2, 4, 8, 9, 12, 31, 32, 33, 255, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1]
EDGES += [2**32, 2**53, 2**61, 2**62, 2**63 - 1, 2**63, 2**64 - 33, 2**64 - 32, 2**64 - 1]
numbers = st.sampled_from(EDGES) | st.integers(0, 2**64 - 1) | st.integers(0, 64)

fuzz = settings(
    max_examples=SEARCH or 400,
    derandomize=not SEARCH,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz") / "fuzzed.gguf"


def read_everything(path: Path, raw: bytes) -> bool:
    """Whether `raw` is a file that opens; then all that is in it can be read."""
    path.write_bytes(raw)
    tracemalloc.start()
    try:
        with open_gguf(path) as file:
            for value in file.metadata.values():
                assert isinstance(value, bool | int | float | str | list | np.ndarray)
            for name, tensor in file.tensors.items():
                assert file.data(name).nbytes == tensor.nbytes
                assert tensor.offset + tensor.nbytes <= file.parts[tensor.part].stat().st_size
                file.release(name)
    except ForgeError as error:
        message = str(error)
        assert message.startswith(str(path.parent))
        assert message.isprintable()
        assert len(message) < 600
        return False
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MOST_BYTES
    return True


WHOLE = whole_file().build()
positions = st.integers(0, len(WHOLE) - 1)
mutations = st.one_of(
    st.tuples(st.just("set"), positions, st.binary(min_size=1, max_size=4)),
    st.tuples(st.just("u32"), positions, numbers),
    st.tuples(st.just("u64"), positions, numbers),
    st.tuples(st.just("insert"), positions, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("delete"), positions, st.integers(1, 16)),
    st.tuples(st.just("copy"), positions, positions),
    st.tuples(st.just("cut"), positions, st.just(0)),
)


def mutate(raw: bytearray, kind: str, at: int, what: bytes | int) -> None:
    """Spoil `raw` in one way."""
    if isinstance(what, bytes):
        raw[at : at + (len(what) if kind == "set" else 0)] = what
    elif kind in ("u32", "u64"):
        size = int(kind[1:]) // 8
        raw[at : at + size] = (what % (1 << 8 * size)).to_bytes(size, "little")
    elif kind == "delete":
        del raw[at : at + what]
    elif kind == "copy":
        raw[at : at + 24] = raw[what : what + 24]
    else:
        del raw[at:]


@given(st.lists(mutations, min_size=1, max_size=4))
@fuzz
def test_a_mutated_file_opens_or_is_refused(
    path: Path, changes: list[tuple[str, int, bytes | int]]
) -> None:
    raw = bytearray(WHOLE)
    for kind, at, what in changes:
        mutate(raw, kind, at, what)
    read_everything(path, bytes(raw))


@given(st.binary(max_size=200))
@fuzz
def test_bytes_after_a_right_magic_open_or_are_refused(path: Path, raw: bytes) -> None:
    read_everything(path, b"GGUF" + u32(3) + raw)


T = TypeVar("T")


def rarely(wrong: st.SearchStrategy[T], right: st.SearchStrategy[T]) -> st.SearchStrategy[T]:
    """Lies are one in sixteen: a file of nothing but lies is refused at its first field."""
    return st.integers(0, 15).flatmap(lambda draw: wrong if draw == 15 else right)


lies = rarely(numbers, st.none())
right_names = st.integers(97, 122).map(lambda letter: bytes([letter]))
odd_names = st.binary(max_size=6) | st.sampled_from([b"general.alignment", b"split.count", b"\n"])
names = rarely(odd_names, right_names)
strings = st.builds(text, st.binary(max_size=12), lies).map(lambda raw: (STRING, raw))


def numbers_of(code: int) -> st.SearchStrategy[tuple[int, bytes]]:
    size = struct.calcsize("<" + LAYOUTS[code])
    raw = rarely(st.binary(max_size=9), st.binary(min_size=size, max_size=size))
    if code == BOOL:
        raw = rarely(raw, st.sampled_from([b"\0", b"\1"]))
    return raw.map(lambda drawn: (code, drawn))


kinds = [strings, *map(numbers_of, LAYOUTS)]


def arrays_of(values: st.SearchStrategy[tuple[int, bytes]]) -> st.SearchStrategy[tuple[int, bytes]]:
    """Arrays whose items are of one type, mostly the one that they say."""

    def build(items: list[tuple[int, bytes]], count: int | None, code: int | None) -> bytes:
        kind = items[0][0] if items else 4
        payload = [raw for item, raw in items if item == kind]
        return array(kind if code is None else code, payload, count)

    lists = st.one_of(*(st.lists(kind, max_size=4) for kind in kinds), st.lists(values, max_size=3))
    codes = rarely(st.integers(0, 15), st.none())
    return st.builds(build, lists, lies, codes).map(lambda raw: (ARRAY, raw))


values = st.recursive(st.one_of(*kinds), arrays_of, max_leaves=12)
entries = st.builds(
    lambda name, value, code: text(name) + u32(value[0] if code is None else code) + value[1],
    names,
    values,
    rarely(st.integers(0, 20), st.none()),
)
dims = rarely(numbers, st.sampled_from([1, 2]))
tensors = st.builds(
    TensorEntry,
    names,
    st.builds(
        lambda row, outer: (row, *outer),
        rarely(numbers, st.sampled_from([32, 64, 256])),
        st.lists(dims, max_size=3),
    ),
    rarely(st.integers(0, 45), st.sampled_from([0, 1, 3, 8, 24])),
    rarely(numbers, st.integers(0, 8).map(lambda n: 512 * n)),
    rarely(st.integers(0, 2**32 - 1), st.none()),
)
files = st.builds(
    FileBuilder,
    version=rarely(st.integers(0, 2**32 - 1), st.sampled_from([2, 3])),
    keys=st.lists(entries, max_size=4),
    tensors=st.lists(tensors, max_size=3),
    data=st.sampled_from([0, 4096, 16384]).map(bytes),
    n_keys=lies,
    n_tensors=lies,
)


@given(files)
@fuzz
def test_a_file_of_lies_opens_or_is_refused(path: Path, file: FileBuilder) -> None:
    read_everything(path, file.build())


PARTS = [split_part(number, 2, 2).build() for number in (1, 2)]


@given(st.lists(st.tuples(st.integers(0, 1), mutations), max_size=3), files, st.integers(0, 9))
@fuzz
def test_a_split_set_with_wrong_parts_opens_or_is_refused(
    path: Path,
    changes: list[tuple[int, tuple[str, int, bytes | int]]],
    other: FileBuilder,
    keep: int,
) -> None:
    raws = [bytearray(raw) for raw in PARTS]
    for which, (kind, at, what) in changes:
        mutate(raws[which], kind, at % len(PARTS[which]), what)
    if keep == 0:  # a file of another set, with the keys that a set needs
        other.keys += split_part(1, 2, 2).keys
        other.n_keys = None
        raws[0] = bytearray(other.build())
    names = [path.with_name(f"fuzzed-0000{number}-of-00002.gguf") for number in (1, 2)]
    names[1].write_bytes(raws[1])
    read_everything(names[0], bytes(raws[0]))


def test_the_fuzzed_file_is_right_to_begin_with(path: Path) -> None:
    assert read_everything(path, WHOLE)
    for number, raw in enumerate(PARTS, 1):
        path.with_name(f"right-0000{number}-of-00002.gguf").write_bytes(raw)
    assert read_everything(path.with_name("right-00001-of-00002.gguf"), PARTS[0])
