"""The kernel's list of GPUs, and which one a worker's driver is shown."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.backends.hip.runtime.desk import kfd as write

from forge.backend import BackendUnavailable
from forge_hip.runtime import kfd
from forge_hip.runtime.devices import narrow

CARD = {"bus": 3, "version": 110000, "simds": 192, "unique": 0x1234ABCD}
OWN = {"bus": 0x0F, "version": 100306, "simds": 4}
"""A card, and the GPU that comes with the processor."""


def test_gpus_are_read_and_processors_left_out(tmp_path: Path) -> None:
    card, own = kfd.nodes(str(write(tmp_path, [CARD, OWN])))
    assert (card.index, card.address, card.arch) == (0, "0000:03:00.0", "gfx1100")
    assert card.selector == "GPU-000000001234abcd"
    assert (own.index, own.address, own.arch, own.selector) == (1, "0000:0f:00.0", "gfx1036", "1")


def test_no_kfd_and_damaged_files_are_no_gpu(tmp_path: Path) -> None:
    assert kfd.nodes(str(tmp_path)) == []
    root = write(tmp_path, [CARD])
    (root / kfd.NODES / "1/properties").write_bytes(b"simd_count \xff\nunique_id " + b"9" * 99)
    assert kfd.nodes(str(root)) == []
    (root / kfd.NODES / "1/properties").unlink()
    assert kfd.nodes(str(root)) == []


@pytest.mark.parametrize(
    ("version", "arch"),
    [
        (90010, "gfx90a"),
        (100302, "gfx1032"),
        (110501, "gfx1151"),
        (120001, "gfx1201"),
        (0, ""),
    ],
)
def test_versions_are_spelled_as_compilers_do(version: int, arch: str) -> None:
    assert kfd.arch_of(version) == arch


def test_an_override_is_read_and_nonsense_is_none() -> None:
    assert kfd.overridden({"HSA_OVERRIDE_GFX_VERSION": "10.3.0"}) == "gfx1030"
    assert kfd.overridden({"HSA_OVERRIDE_GFX_VERSION": "gfx1030"}) == ""
    assert kfd.overridden({}) == ""


@pytest.mark.parametrize("order", [[CARD, OWN], [OWN, CARD]])
def test_beside_an_integrated_gpu_the_card_alone_is_shown(
    tmp_path: Path, order: list[dict[str, int]]
) -> None:
    environ: dict[str, str] = {}
    node = narrow(None, environ, str(write(tmp_path, order)))
    assert node is not None
    assert node.address == "0000:03:00.0"
    assert environ == {"ROCR_VISIBLE_DEVICES": "GPU-000000001234abcd"}


@pytest.mark.parametrize("wanted", ["1", "0000:0f:00.0", "0F:00.0", "gfx1036"])
def test_a_device_is_chosen_by_number_address_or_instruction_set(
    tmp_path: Path, wanted: str
) -> None:
    environ: dict[str, str] = {}
    node = narrow(wanted, environ, str(write(tmp_path, [CARD, OWN])))
    assert node is not None
    assert node.address == "0000:0f:00.0"
    assert environ == {"ROCR_VISIBLE_DEVICES": "1"}


def test_a_device_that_is_not_there_brings_a_list_of_those_that_are(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    with pytest.raises(BackendUnavailable, match=r"0 \(gfx1100, 0000:03:00.0\), 1 \(gfx1036"):
        narrow("0000:99:00.0", environ, str(write(tmp_path, [CARD, OWN])))
    assert environ == {}


@pytest.mark.parametrize("variable", ["ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"])
def test_what_the_person_chose_stays(tmp_path: Path, variable: str) -> None:
    environ = {variable: "1"}
    assert narrow(None, environ, str(write(tmp_path, [CARD, OWN]))) is None
    assert environ == {variable: "1"}


def test_a_gpu_that_this_container_was_not_given_is_not_taken(tmp_path: Path) -> None:
    root = write(tmp_path, [{**CARD, "render": 128}, {**OWN, "render": 129}])
    (root / "dev/dri").mkdir(parents=True)
    (root / "dev/dri/renderD129").write_bytes(b"")
    node = narrow(None, {}, str(root))
    assert node is not None
    assert node.address == "0000:0f:00.0"


def test_one_gpu_alone_needs_no_choice(tmp_path: Path) -> None:
    environ: dict[str, str] = {}
    node = narrow(None, environ, str(write(tmp_path, [CARD])))
    assert node is not None
    assert environ == {}


def test_why_there_is_no_device_is_told_from_files(tmp_path: Path) -> None:
    assert "no /dev/kfd" in kfd.why_none(str(tmp_path))
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/kfd").write_bytes(b"")
    assert "lists no GPU" in kfd.why_none(str(tmp_path))
    assert "too old" in kfd.why_none(str(write(tmp_path, [CARD])))
