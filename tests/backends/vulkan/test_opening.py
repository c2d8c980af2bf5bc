"""The device is opened by the real loader; whatever is in the way is told with what to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests import vulkan_device

from forge.backend import BackendConfig, BackendUnavailable
from forge_vulkan.binaries import require_shaders

OPEN = """
import json, sys
from forge.backend import BackendConfig, BackendUnavailable
try:
    from forge_vulkan.opening import Opening
    opening = Opening(BackendConfig(asked=json.loads(sys.argv[1])))
    checks = [[check.name, check.ok, check.detail, check.advice] for check in opening.checks()]
    opening.close()
    opening.close()
    print(json.dumps(checks))
except BackendUnavailable as error:
    print(json.dumps(str(error)))
"""


def opened(asked: bool, **env: str) -> str | list[list[object]]:
    """The checks of an opening in a process of its own, or why there was none."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", OPEN, json.dumps(asked)],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result: str | list[list[object]] = json.loads(done.stdout)
    return result


REFUSED = """
import sys
from forge_vulkan.failing import Edge
from forge_vulkan.runtime import vk
vk.lib = Edge(vk.lib, {sys.argv[2]: lambda *_: int(sys.argv[3])})
"""
INITIALIZATION_FAILED, DEVICE_LOST, OUT_OF_MEMORY = -3, -4, -2


@pytest.mark.parametrize(
    "call", ["vkCreateInstance", "vkEnumeratePhysicalDevices", "vkCreateDevice"]
)
def test_a_driver_that_does_not_start_is_unavailable_and_not_accused(call: str) -> None:
    vulkan_device.device()
    command = [sys.executable, "-P", "-c", REFUSED + OPEN, "true", call, str(INITIALIZATION_FAILED)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.startswith(f"the Vulkan driver does not start ({call}: VK_ERROR_INITIALIZATION")
    assert "reboot" in told


@pytest.mark.parametrize(
    ("result", "error"), [(DEVICE_LOST, "BackendLost"), (OUT_OF_MEMORY, "BackendOutOfMemory")]
)
def test_a_device_that_is_lost_or_full_as_it_is_opened_is_called_so(
    result: int, error: str
) -> None:
    vulkan_device.device()
    command = [sys.executable, "-P", "-c", REFUSED + OPEN, "true", "vkCreateDevice", str(result)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False)
    assert f"forge.errors.{error}: " in done.stderr


def only(*manifests: Path | str) -> dict[str, str]:
    """An environment in which the loader reads these descriptions of drivers and no others."""
    paths = os.pathsep.join(map(str, manifests))
    return {"VK_DRIVER_FILES": paths, "VK_ICD_FILENAMES": paths}


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """The description of a driver whose library is a text."""
    library = tmp_path / "libvulkan_broken.so"
    library.write_text("no library")
    manifest = tmp_path / "broken.json"
    icd = {"library_path": str(library), "api_version": "1.3.0"}
    manifest.write_text(json.dumps({"file_format_version": "1.0.0", "ICD": icd}))
    return manifest


@pytest.fixture
def software() -> Path:
    """The description of Mesa's software driver."""
    vulkan_device.device()
    found = sorted(Path("/usr/share/vulkan/icd.d").glob("lvp_icd*.json"))
    if not found:
        pytest.skip(f"Mesa's software driver is not here: {vulkan_device.install_command()}")
    return found[0]


def test_a_software_device_that_was_asked_for_is_opened_with_a_warning(software: Path) -> None:
    checks = opened(True, **only(software))
    assert isinstance(checks, list)
    by_name = {name: (ok, detail, advice) for name, ok, detail, advice in checks}
    assert {name for name, (ok, *_) in by_name.items() if not ok} == {"hardware"}
    assert "-b cpu" in str(by_name["hardware"][2])
    assert "Vulkan 1." in str(by_name["driver"][1])
    assert "GiB to be had" in str(by_name["memory"][1])


def test_a_software_device_that_nobody_asked_for_is_left_alone(software: Path) -> None:
    told = opened(False, **only(software))
    assert isinstance(told, str)
    assert "`-b vulkan` uses it all the same" in told


def test_without_a_driver_the_error_says_what_to_install(tmp_path: Path) -> None:
    vulkan_device.device()
    told = opened(True, **only(tmp_path / "nothing.json"))
    assert isinstance(told, str)
    assert "found no driver: install" in told


def test_a_drivers_library_that_does_not_load_is_named_with_the_reason(broken: Path) -> None:
    vulkan_device.device()
    told = opened(True, **only(broken))
    assert isinstance(told, str)
    assert "found no driver: install" in told
    assert "libvulkan_broken.so: file too short" in told


def test_a_broken_driver_beside_one_that_works_is_shown(broken: Path, software: Path) -> None:
    checks = opened(True, **only(broken, software))
    assert isinstance(checks, list)
    (shown,) = [check for check in checks if check[0] == "other drivers"]
    assert "libvulkan_broken.so: file too short" in str(shown[2])


def test_without_the_loaders_library_the_error_says_what_to_install(tmp_path: Path) -> None:
    vulkan_device.device()
    (tmp_path / "libvulkan.so.1").write_text("no library")  # found before the real one
    told = opened(True, LD_LIBRARY_PATH=str(tmp_path))
    assert isinstance(told, str)
    assert "Vulkan loader is not installed" in told
    assert "apt-get install libvulkan1" in told


def test_the_validation_layer_looks_on_while_a_device_is_opened_and_closed() -> None:
    vulkan_device.validating()
    assert isinstance(opened(True, FORGE_VULKAN_VALIDATE="1"), list)


def test_asking_for_a_validation_layer_that_is_not_there_says_what_to_install(
    tmp_path: Path,
) -> None:
    vulkan_device.device()
    told = opened(True, FORGE_VULKAN_VALIDATE="1", VK_LAYER_PATH=str(tmp_path))
    assert isinstance(told, str)
    assert "apt-get install vulkan-validationlayers" in told


def test_a_device_that_is_not_there_is_refused_with_those_that_are(software: Path) -> None:
    from forge_vulkan.opening import Opening

    with pytest.raises(BackendUnavailable, match=r"no Vulkan device 'nothing'; there are: \d \("):
        Opening(BackendConfig(device="nothing"))


@pytest.mark.parametrize(
    "index",
    [
        None,
        "",
        "[]",
        '{"shaders": []}',
        '{"shaders": 1}',
        '{"shaders": {"a.spv": null}}',
        '{"shaders": {"a.spv": "1"}}',
    ],
)
def test_a_build_without_shaders_says_how_to_get_them(tmp_path: Path, index: str | None) -> None:
    if index is not None:
        (tmp_path / "index.json").write_text(index)
    with pytest.raises(BackendUnavailable, match=r"python -m forge_vulkan\.compiling"):
        require_shaders(tmp_path)


def test_a_build_with_all_its_shaders_knows_how_many(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"shaders": {"a.spv": "1", "b.spv": "2"}}')
    for name in ("a.spv", "b.spv"):
        (tmp_path / name).touch()
    assert require_shaders(tmp_path) == 2
