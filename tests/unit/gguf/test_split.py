"""A split set opens from any of its parts, and a set that is not whole says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest

from forge.errors import GGUFError, ModelNotFound
from forge.gguf import open_gguf

from .builder import ARRAY, STRING, U16, FileBuilder, array, split_part, text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in (1, 2, 3):
        (tmp_path / name(number)).write_bytes(split_part(number).build())
    return tmp_path


def name(number: int, count: int = 3) -> str:
    return f"model-{number:05d}-of-{count:05d}.gguf"


@pytest.mark.parametrize("given", [1, 2, 3])
def test_any_part_opens_the_whole_set_in_order(folder: Path, given: int) -> None:
    with open_gguf(folder / name(given)) as file:
        assert file.path == folder / name(given)
        assert file.parts == tuple(folder / name(number) for number in (1, 2, 3))
        assert list(file.tensors) == ["t1", "t2", "t3"]
        assert [tensor.part for tensor in file.tensors.values()] == [0, 1, 2]
        assert file.data("t2").tolist() == [2] * 4
        assert file.metadata["general.architecture"] == "llama"
        file.release("t3")


def test_a_first_part_without_tensors_is_fine(folder: Path) -> None:
    first = split_part(1, total=2)
    first.tensors.clear()
    (folder / name(1)).write_bytes(first.build())
    for number in (2, 3):
        (folder / name(number)).write_bytes(split_part(number, total=2).build())
    with open_gguf(folder / name(1)) as file:
        assert list(file.tensors) == ["t2", "t3"]


def test_a_set_of_one_is_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / name(1, 1)
    path.write_bytes(split_part(1, 1, 1).build())
    with open_gguf(path) as file:
        assert file.parts == (path,)


def test_missing_parts_are_named(folder: Path) -> None:
    (folder / name(1)).unlink()
    (folder / name(3)).unlink()
    with pytest.raises(ModelNotFound, match=f"2 of the 3 parts .*: {name(1)}, {name(3)}$"):
        open_gguf(folder / name(2))


def test_many_missing_parts_are_counted(tmp_path: Path) -> None:
    path = tmp_path / name(2, 60000)
    path.write_bytes(split_part(2, 60000).build())
    with pytest.raises(ModelNotFound, match=r"59999 of the 60000 parts .*and 59996 more$"):
        open_gguf(path)


def overwrite(number: int, file: FileBuilder) -> Callable[[Path], object]:
    return lambda folder: (folder / name(number)).write_bytes(file.build())


def without_split_keys() -> FileBuilder:
    return FileBuilder().tensor("t2", (4,), 24, bytes(4))


def folder_instead(folder: Path) -> None:
    (folder / name(2)).unlink()
    (folder / name(2)).mkdir()


ARRAY_OF_NUMBERS = ("general.architecture", ARRAY, array(U16, [bytes(2)] * 2))

MIXED: dict[str, tuple[Callable[[Path], object], int, str]] = {
    "a part of a longer set": (
        overwrite(2, split_part(2, count=4)),
        2,
        r"split\.count at byte \d+: says 4, its name says 3",
    ),
    "two parts exchanged": (
        overwrite(2, split_part(3)),
        2,
        r"split\.no at byte \d+: says 2, its name says 1",
    ),
    "a part with another total": (
        overwrite(2, split_part(2, total=9)),
        2,
        r"split\.tensors\.count at byte \d+: says 9, the 3 parts hold 3",
    ),
    "a tensor that an earlier part has": (
        overwrite(3, FileBuilder(keys=split_part(3).keys).tensor("t1", (4,), 24, bytes(4))),
        3,
        f"tensor t1 is in {name(1)} as well",
    ),
    "a part of another architecture": (
        overwrite(3, split_part(3).string("general.architecture", "qwen2")),
        3,
        r"general\.architecture at byte \d+: differs from that of " + name(1),
    ),
    "a part that knows of no set": (
        overwrite(2, without_split_keys()),
        2,
        r"the key split\.count is missing: not a part",
    ),
    "a count that is text": (
        overwrite(2, FileBuilder().key("split.count", STRING, text("3"))),
        2,
        r"split\.count at byte 47: is a string, expected an integer",
    ),
    "an architecture that is an array": (
        overwrite(1, FileBuilder(keys=split_part(1).keys[1:]).key(*ARRAY_OF_NUMBERS)),
        1,
        r"general\.architecture at byte \d+: is an array of numbers, expected a string",
    ),
    "a malformed part": (
        overwrite(2, FileBuilder(version=9)),
        2,
        "version at byte 4: version 9",
    ),
    "a part that is a folder": (
        folder_instead,
        2,
        "a directory",
    ),
}


@pytest.mark.parametrize("given", [1, 2, 3])
@pytest.mark.parametrize("case", MIXED)
def test_parts_that_do_not_belong_together_are_named(folder: Path, case: str, given: int) -> None:
    spoil, culprit, words = MIXED[case]
    spoil(folder)
    with pytest.raises(GGUFError, match=words) as caught:
        open_gguf(folder / name(given))
    assert str(caught.value).startswith(f"{folder / name(culprit)}: ")


def test_a_renamed_part_cannot_find_the_others_and_says_so(folder: Path) -> None:
    path = folder / "renamed.gguf"
    path.write_bytes(split_part(2).build())
    with pytest.raises(GGUFError, match=r"split\.count .*not named NAME-00001-of-00003\.gguf"):
        open_gguf(path)


def test_a_set_that_the_gguf_package_writes_opens(tmp_path: Path) -> None:
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "llama", split_max_tensors=2)
    for index in range(5):
        writer.add_tensor(f"t{index}", np.full((2, 32), index, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    assert (tmp_path / name(3)).exists()
    with open_gguf(tmp_path / name(2)) as file:
        assert list(file.tensors) == [f"t{index}" for index in range(5)]
        assert file.require("general.architecture", str) == "llama"
        for index in range(5):
            assert (file.data(f"t{index}").view("<f4") == index).all()
