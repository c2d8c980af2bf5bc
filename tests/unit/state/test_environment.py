"""The parts of a key, from a tree of files as a machine has them."""

import os

import pytest

from forge import __version__
from forge.state import environment, openable


@pytest.fixture
def tree(tmp_path):
    """A machine with a Radeon, ROCm and RADV; the function changes a file of it."""

    def put(name: str, text: str):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    put("proc/sys/kernel/osrelease", "6.17.9-arch1\n")
    put("opt/rocm/.info/version", "7.0.2-56\n")
    put("sys/bus/pci/devices/0000:03:00.0/class", "0x030000\n")
    put("sys/bus/pci/devices/0000:03:00.0/vendor", "0x1002\n")
    put("sys/bus/pci/devices/0000:03:00.0/device", "0x744c\n")
    put("sys/bus/pci/devices/0000:00:1f.3/class", "0x040300\n")
    put("sys/class/drm/card1/device/vendor", "0x1002\n")
    put("sys/class/drm/card1/device/device", "0x744c\n")
    put("sys/class/drm/card1/device/vbios_version", "113-D7070100-138\n")
    put("sys/class/drm/card1/device/fw_version/mec_fw_version", "0x00000b1f\n")
    put("sys/class/drm/card1-DP-1/status", "connected\n")
    put("usr/lib/libvulkan_radeon.so", "driver")
    icd = '{"ICD": {"library_path": "/usr/lib/libvulkan_radeon.so"}}'
    put("usr/share/vulkan/icd.d/radeon_icd.json", icd)
    return put


def parts(tmp_path, **variables):
    return environment(tmp_path, variables, [str(tmp_path / "site")])


def test_every_part_is_found(tree, tmp_path):
    found = parts(tmp_path)
    assert found["kernel"] == "6.17.9-arch1"
    assert found["rocm"] == "7.0.2-56"
    assert found["gpus"] == "1002:744c"
    assert found["forge"] == __version__
    assert len(found["firmware"]) == len(found["vulkan"]) == 16


def test_nothing_is_known_of_an_empty_machine(tmp_path):
    found = environment(tmp_path, {}, [])
    assert {name for name, value in found.items() if value} == {"forge"}


def test_the_real_machine_has_a_kernel():
    assert environment()["kernel"] == os.uname().release


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("proc/sys/kernel/osrelease", "6.18.3\n", "kernel"),
        ("sys/class/drm/card1/device/fw_version/mec_fw_version", "0x00000b20\n", "firmware"),
        ("sys/class/drm/card1/device/vbios_version", "113-D7070100-139\n", "firmware"),
        ("opt/rocm/.info/version", "7.1.0\n", "rocm"),
        ("site/rocm_sdk_core-7.1.0.dist-info/METADATA", "", "rocm"),
        ("usr/lib/libvulkan_radeon.so", "another driver", "vulkan"),
        ("sys/bus/pci/devices/0000:03:00.0/device", "0x7550\n", "gpus"),
    ],
)
def test_a_change_of_the_machine_changes_its_part_alone(tree, tmp_path, name, text, part):
    before = parts(tmp_path)
    tree(name, text)
    after = parts(tmp_path)
    assert {key for key in before if before[key] != after[key]} == {part}


def test_a_card_that_changed_its_number_is_the_same_firmware(tree, tmp_path):
    before = parts(tmp_path)["firmware"]
    (tmp_path / "sys/class/drm/card1").rename(tmp_path / "sys/class/drm/card0")
    assert parts(tmp_path)["firmware"] == before


def test_a_distributions_rocm_is_known_by_its_library(tree, tmp_path):
    (tmp_path / "opt/rocm/.info/version").unlink()
    link = tmp_path / "usr/lib64/libamdhip64.so.6"
    link.parent.mkdir(parents=True)
    link.symlink_to("libamdhip64.so.6.3.42134")
    assert parts(tmp_path)["rocm"] == "libamdhip64.so.6.3.42134"


def test_the_drivers_that_a_person_chose_count_instead(tree, tmp_path):
    before = parts(tmp_path)["vulkan"]
    tree("mine/libmine.so", "mine")
    tree("mine/mine.json", '{"ICD": {"library_path": "./libmine.so"}}')
    chosen = parts(tmp_path, VK_DRIVER_FILES="/mine/mine.json")["vulkan"]
    assert chosen not in ("", before)
    assert parts(tmp_path, VK_ICD_FILENAMES="/mine/mine.json")["vulkan"] == chosen
    added = parts(tmp_path, VK_ADD_DRIVER_FILES="/mine")["vulkan"]
    assert added not in ("", before, chosen)


PATHS = ("3", '"a\\u0000b"', '"/no/such"', '"\\ud800"', '"a/../b"')


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{", "null", "[" * 60000, "\0\xff", '{"ICD": 3}'),
        *(f'{{"ICD": {{"library_path": {path}}}}}' for path in PATHS),
    ],
)
def test_a_strange_manifest_counts_as_itself(tree, tmp_path, text):
    before = parts(tmp_path)["vulkan"]
    tree("etc/vulkan/icd.d/strange.json", text)
    assert parts(tmp_path)["vulkan"] not in ("", before)


@pytest.mark.parametrize(
    "name",
    [
        "opt/rocm/.info/version",
        "sys/class/drm/card1/device/vbios_version",
        "sys/bus/pci/devices/0000:03:00.0/class",
        "usr/share/vulkan/icd.d/radeon_icd.json",
    ],
)
def test_a_folder_a_pipe_or_noise_in_a_files_place_stops_nothing(tree, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(bytes(range(256)) * 40)
    assert parts(tmp_path)["kernel"] == "6.17.9-arch1"
    path.unlink()
    os.mkfifo(path)
    assert parts(tmp_path)["kernel"] == "6.17.9-arch1"
    path.unlink()
    path.mkdir()
    assert parts(tmp_path)["kernel"] == "6.17.9-arch1"


def test_nodes_of_gpus_are_those_that_this_process_may_open(tmp_path):
    for name in ("dri/renderD128", "dri/renderD129", "dri/card0", "kfd", "nvidia0", "null"):
        (tmp_path / "dev" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "dev" / name).touch()
    assert openable(tmp_path) == "kfd,nvidia0,renderD128,renderD129"
    (tmp_path / "dev/kfd").unlink()
    (tmp_path / "dev/dri/renderD129").unlink()
    assert openable(tmp_path) == "nvidia0,renderD128"
    assert openable(tmp_path / "nothing") == ""
