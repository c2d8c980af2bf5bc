"""What is no regular file is refused; what is open can be given back, or change under us."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import pytest

from forge.errors import GGUFError, ModelError, ModelNotFound
from forge.gguf import GGUFFile, open_gguf

from .builder import U32, FileBuilder, number, whole_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "whole.gguf"
    path.write_bytes(whole_file().build())
    return path


def open_files() -> set[str]:
    """What this process has open or mapped, by name."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    return {line.split(maxsplit=5)[-1] for line in maps if "/" in line}


@pytest.mark.parametrize(
    "name", ["missing.gguf", "whole.gguf/x", "n" * 300, "nul\0", "\ud800"], ids=ascii
)
def test_a_missing_file_is_not_found(path: Path, name: str) -> None:
    with pytest.raises(ModelNotFound, match=r"no such file|not a possible") as caught:
        open_gguf(path.parent / name)
    assert str(caught.value).isprintable()


def test_a_loop_of_links_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "loop.gguf").symlink_to("loop.gguf")
    with pytest.raises(ModelNotFound):
        open_gguf(tmp_path / "loop.gguf")


def test_a_link_is_followed(path: Path) -> None:
    link = path.parent / "link.gguf"
    link.symlink_to(path.name)
    with open_gguf(str(link)) as file:
        assert file.path == link


def test_a_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(GGUFError, match="a directory, not a GGUF file"):
        open_gguf(tmp_path)


def test_a_pipe_is_refused_without_waiting_for_its_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(GGUFError, match=r"pipe\.gguf: not a regular file"):
        open_gguf(tmp_path / "pipe.gguf")


def test_a_device_is_refused() -> None:
    with pytest.raises(GGUFError, match="/dev/zero: not a regular file"):
        open_gguf("/dev/zero")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_says_so(path: Path) -> None:
    path.chmod(0)
    with pytest.raises(ModelError, match=r"whole\.gguf: cannot be opened: Permission denied"):
        open_gguf(path)


def test_a_closed_file_keeps_what_was_read_and_refuses_the_rest(path: Path) -> None:
    with open_gguf(path) as file:
        view = file.data("norm")
        tokens = file.metadata["tokens"]
    file.close()  # a second time does nothing
    assert view.view("<f4").tolist() == [1, 2, 3, 4]
    assert file.metadata["tokens"] is tokens
    file.release("norm")
    with pytest.raises(ModelError, match=r"whole\.gguf: the file is closed"):
        file.data("norm")
    with pytest.raises(ModelError, match=r"whole\.gguf: the file is closed"):
        file.metadata["nested"]


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_the_mapping_goes_with_the_last_view(path: Path) -> None:
    file = open_gguf(path)
    view = file.data("norm")
    file.close()
    assert str(path) in open_files()
    del view
    gc.collect()
    assert str(path) not in open_files()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc")
def test_a_refused_file_does_not_stay_open(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(GGUFError):
        open_gguf(path)
    gc.collect()
    assert str(path) not in open_files()


def test_a_file_cut_short_after_opening_gives_an_error_not_a_signal(path: Path) -> None:
    with open_gguf(path) as file:
        os.truncate(path, 100)
        with pytest.raises(GGUFError, match=r"whole\.gguf: size at byte 100: .* cut short"):
            file.data("norm")
        with pytest.raises(GGUFError, match="cut short"):
            file.metadata["tokens"]


def test_metadata_that_changes_after_opening_is_checked_again(path: Path) -> None:
    with open_gguf(path) as file:
        whole = path.read_bytes()
        at = whole.index(b"tokens") + 6 + 4 + 12
        with path.open("r+b") as stream:
            stream.seek(at)
            stream.write(b"\xff" * 8)
        with pytest.raises(GGUFError, match=r"tokens\[0\] length at byte \d+: says 18446744"):
            file.metadata["tokens"]


def resident(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> int:
    """KiB in memory of the mapping that holds `array`'s first byte."""
    address, inside = array.__array_interface__["data"][0], False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        head = line.split()[0]
        if "-" in head and ":" not in head:
            low, high = (int(part, 16) for part in head.split("-"))
            inside = low <= address < high
        elif inside and head == "Rss:":
            return int(line.split()[1])
    raise LookupError(address)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="needs /proc")
def test_released_pages_leave_memory_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "large.gguf"
    data = np.arange(1 << 20, dtype=np.uint32).tobytes()
    path.write_bytes(FileBuilder().tensor("t", (1024, 1024), 0, data).build())
    with open_gguf(path) as file:
        view = file.data("t")
        total = int(view.astype(np.uint32).sum())
        assert resident(view) > 4000
        file.release("t")
        assert resident(view) < 100
        assert int(view.astype(np.uint32).sum()) == total
        del view


def test_a_file_names_itself(path: Path) -> None:
    with open_gguf(path) as file:
        assert isinstance(file, GGUFFile)
        assert repr(file) == f"<GGUFFile {path}: 2 tensors>"


def test_alignment_from_the_metadata_is_used(tmp_path: Path) -> None:
    path = tmp_path / "aligned.gguf"
    file = FileBuilder(alignment=4096).key("general.alignment", U32, number(U32, 4096))
    path.write_bytes(file.tensor("t", (1,), 24, b"\7").tensor("u", (1,), 24, b"\x08").build())
    with open_gguf(path) as opened:
        assert [t.offset for t in opened.tensors.values()] == [4096, 8192]
        assert opened.data("u").tolist() == [8]
