"""What a person sees of the Vulkan backend: the list, --device, and what auto makes of it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests import vulkan_device
from tests.conftest import Forge

TURN = ("Hi", "-n", "3", "--temp", "0", "--json")
BOTH = {"FORGE_PLUGINS": "cpu,vulkan"}
NOTHING = {"VK_DRIVER_FILES": os.devnull, "VK_ICD_FILENAMES": os.devnull}


@pytest.fixture(autouse=True)
def software() -> None:
    """These are about a machine that has a software device and no other."""
    vulkan_device.device()
    if not all(vulkan_device.look().software):
        pytest.skip("there is a GPU here; these are about machines without one")


def test_the_list_has_the_device_its_driver_and_a_warning_that_it_is_software(
    forge: Forge,
) -> None:
    done = forge("backends", "--json", env=BOTH)
    (found,) = [each for each in json.loads(done.stdout) if each["backend"] == "vulkan"]
    assert found["status"] == "ready"
    (device,) = found["devices"]
    assert device["kind"] == "software"
    assert device["name"] == found["device"]
    assert device["id"] == "0"
    assert device["driver"]
    assert [check["name"] for check in found["checks"] if not check["ok"]] == ["hardware"]


def test_the_list_without_a_driver_says_what_to_install(forge: Forge) -> None:
    done = forge("backends", env={**BOTH, **NOTHING})
    assert "vulkan       unavailable" in done.stdout
    assert "found no driver: install your GPU's" in done.stdout


@pytest.mark.parametrize("device", ["0", "LLVMPIPE"])
def test_a_device_is_chosen_by_its_id_or_a_part_of_its_name(
    forge: Forge, tiny_chat: Path, device: str
) -> None:
    chosen = ("-b", "vulkan", "--device", device, "--strict")
    done = forge("run", *TURN, *chosen, "-m", tiny_chat, env=BOTH)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["backend"] == "vulkan"


def test_a_device_that_is_not_there_is_answered_with_what_is(forge: Forge, tiny_chat: Path) -> None:
    chosen = ("-b", "vulkan", "--device", "geforce", "--strict")
    done = forge("run", *TURN, *chosen, "-m", tiny_chat, env=BOTH)
    assert done.returncode == 3
    assert "there is no Vulkan device 'geforce'; there are: 0 (llvmpipe" in done.stderr


def test_auto_never_takes_a_software_device_not_even_one_that_was_asked_for_before(
    forge: Forge, tiny_chat: Path
) -> None:
    backends = []
    for choice in ("auto", "vulkan", "auto"):
        done = forge("run", *TURN, "-b", choice, "-m", tiny_chat, env=BOTH)
        assert done.returncode == 0, done.stderr
        backends.append(json.loads(done.stdout)["backend"])
    assert backends == ["cpu", "vulkan", "cpu"]


def test_a_machine_without_a_gpu_is_told_so_and_nothing_has_failed(
    forge: Forge, tiny_chat: Path
) -> None:
    done = forge("run", *TURN, "-m", tiny_chat, env=BOTH)
    (line,) = [line for line in done.stderr.splitlines() if "vulkan" in line]
    assert line.startswith("forge: vulkan is not used (there is no GPU with a Vulkan driver here")
    assert line.endswith("); cpu answers")


def test_a_machine_without_a_driver_is_told_so_once(forge: Forge, tiny_chat: Path) -> None:
    env = {**NOTHING, **BOTH}
    run = ("run", "-m", tiny_chat, "--tokens", "5,6,7", "-n", "3", "--temp", "0")
    first, again = forge(*run, env=env), forge(*run, env=env)
    assert first.returncode == again.returncode == 0
    assert "vulkan is not used" in first.stderr
    assert again.stderr == ""
    assert again.stdout == first.stdout
    assert "unavailable" in forge("backends", env=env).stdout
