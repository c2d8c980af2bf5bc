"""What the driver compiled is kept between starts, and a cache that is no good costs only time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.backends.vulkan.desk import Desk

from forge_gpu.kept import sealed, unsealed
from forge_vulkan.runtime import vk
from forge_vulkan.runtime.kernels import Kernels


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "not yet" / "pipelines"
    monkeypatch.setenv("FORGE_VULKAN_CACHE", str(folder))
    return folder


def start(desk: Desk) -> Kernels:
    """Compile a kernel, and use it."""
    kernels = Kernels(desk.gpu)
    kernel = kernels.get("mark", bindings=1, push=4, constants=(1, 1))
    word = desk.array(np.zeros(1, np.int32))
    desk.record(
        lambda recording: recording.dispatch(
            kernel, [word], (1, 1, 1), writes=[0], push=b"\x07\0\0\0"
        )
    )
    assert word.view(np.int32)[0] == 7
    return kernels


def once(desk: Desk) -> None:
    """A start and an end."""
    kernels = start(desk)
    kernels.save()
    kernels.close()


def held(kernels: Kernels) -> bytes:
    """What the driver has in its cache."""
    size = vk.ffi.new("size_t *")
    given = "vkGetPipelineCacheData", kernels.gpu.handle, kernels._cache, size
    vk.call(*given, vk.NULL)
    data = vk.ffi.new("char[]", size[0])
    vk.call(*given, data)
    return bytes(vk.ffi.buffer(data, size[0]))


def test_the_next_start_has_what_the_driver_had_compiled(desk: Desk, folder: Path) -> None:
    kernels = start(desk)
    assert not folder.exists()
    kernels.save()
    (file,) = folder.iterdir()
    assert unsealed(file.read_bytes()) == held(kernels)
    assert len(held(kernels)) >= 32  # the header of every driver's
    following = Kernels(desk.gpu)
    assert held(following) == held(kernels)
    following.close()
    kernels.close()


def test_nothing_is_written_where_nothing_was_compiled(desk: Desk, folder: Path) -> None:
    kernels = Kernels(desk.gpu)
    kernels.save()
    kernels.close()
    assert not folder.exists()


@pytest.mark.parametrize("damage", ["empty", "short", "a bit", "longer", "not sealed", "zeros"])
def test_a_damaged_file_is_not_given_to_the_driver_and_is_replaced(
    desk: Desk, folder: Path, damage: str
) -> None:
    once(desk)
    (file,) = folder.iterdir()
    good = file.read_bytes()
    bad = {
        "empty": b"",
        "short": good[:-7],
        "a bit": good[:-1] + bytes([good[-1] ^ 1]),
        "longer": good + b"\0",
        "not sealed": unsealed(good),
        "zeros": bytes(len(good)),
    }[damage]
    assert unsealed(bad) == b""
    file.write_bytes(bad)
    once(desk)
    assert unsealed(file.read_bytes()) == unsealed(good)
    assert list(folder.iterdir()) == [file]


def test_a_whole_file_of_another_driver_is_no_problem(desk: Desk, folder: Path) -> None:
    once(desk)
    (file,) = folder.iterdir()
    good = unsealed(file.read_bytes())
    other = bytearray(good)
    other[8] ^= 0xFF  # the vendor; from 16 on, the driver's UUID
    other[20] ^= 0xFF
    file.write_bytes(sealed(bytes(other)))
    once(desk)
    assert unsealed(file.read_bytes()) == good


def test_a_folder_that_cannot_be_made_costs_only_the_cache(desk: Desk, folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("a file where the folder should be")
    once(desk)
    assert folder.read_text() == "a file where the folder should be"


def test_what_cannot_be_replaced_leaves_nothing_half_written(desk: Desk, folder: Path) -> None:
    once(desk)
    (file,) = folder.iterdir()
    file.unlink()
    (file / "in the way").mkdir(parents=True)
    once(desk)
    assert list(folder.iterdir()) == [file]
    assert list(file.iterdir()) == [file / "in the way"]
