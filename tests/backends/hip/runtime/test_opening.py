"""The device is opened, verified and described; and where that cannot be, the reason is told."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.backends.hip.runtime.conftest import Play
from tests.backends.hip.runtime.desk import kfd
from tests.hipsim.build import rocm_path

OPEN = """
import json, sys
from dataclasses import asdict
from forge.backend import BackendConfig, BackendError
from forge_hip.runtime.opening import Opening

given = json.loads(GIVEN)
root = given.pop("root", "/nowhere")
try:
    opening = Opening(BackendConfig(**{"asked": True, **given}), root)
except BackendError as error:
    print(json.dumps({"kind": type(error).__name__, "error": str(error)}))
    sys.exit()
memory = opening.memory()
print(json.dumps({
    "device": asdict(opening.device),
    "devices": [asdict(one) for one in opening.devices],
    "graphs": opening.graphs(),
    "arch": opening.properties.arch,
    "memory": [memory.total, memory.free, opening.pool.allocation_bytes],
    "checks": {check.name: [check.ok, check.detail, check.advice] for check in opening.checks()},
}))
opening.close()
opening.close()
"""
IGPU = "name=Simulated APU,arch=gfx1036,pci=0000:0f:00.0,integrated=1,memory=512"
CARD = "name=Simulated Radeon,arch=gfx1100,pci=0000:03:00.0"
NODES = [
    {"bus": 0x0F, "version": 100306, "simds": 4},
    {"bus": 3, "version": 110000, "simds": 192, "unique": 0x51A0000000000002},
]


@pytest.fixture
def open_(play: Play) -> Callable[..., dict[str, Any]]:
    """Open the backend's runtime in a process of its own; what it says."""

    def open_(environ: dict[str, str] | None = None, **given: object) -> dict[str, Any]:
        program = OPEN.replace("GIVEN", repr(json.dumps(given)))
        done = play(program, **(environ or {}))
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return open_


def test_an_open_device_says_what_it_is(open_) -> None:
    found = open_()
    assert found["device"] == {
        "name": "Simulated Radeon",
        "kind": "software",
        "id": "0",
        "driver": "HIP 7.0.51831",
        "address": "0000:03:00.0",
    }
    assert found["devices"] == [found["device"]]
    assert (found["arch"], found["graphs"]) == ("gfx1100", True)
    assert found["memory"][0] == 4 << 30
    assert found["memory"][2] == 3 << 30, "what every release of HIP gives at once"
    assert {name: check[0] for name, check in found["checks"].items()} == dict.fromkeys(
        ("driver", "device", "memory", "compiler", "graphs"), True
    )
    assert "libamdhip64.so" in found["checks"]["driver"][1]
    assert "gfx1100, 0000:03:00.0" in found["checks"]["device"][1]


def test_a_simulated_device_is_not_opened_unless_it_is_named(open_) -> None:
    assert "is no GPU: `-b hip` uses it" in open_(asked=False)["error"]


def test_of_a_card_and_an_integrated_gpu_the_driver_is_shown_the_card(open_, tmp_path) -> None:
    root = str(kfd(tmp_path, NODES))
    found = open_({"HIPSIM_DEVICES": f"{IGPU};{CARD}"}, root=root)
    assert found["device"]["address"] == "0000:03:00.0"
    assert [one["address"] for one in found["devices"]] == ["0000:03:00.0", "0000:0f:00.0"]
    assert [one["id"] for one in found["devices"]] == ["1", "0"]


def test_the_integrated_gpu_is_opened_when_it_is_asked_for(open_, tmp_path) -> None:
    root = str(kfd(tmp_path, NODES))
    found = open_({"HIPSIM_DEVICES": f"{IGPU};{CARD}"}, root=root, device="0000:0f:00.0")
    assert found["device"]["name"] == "Simulated APU"


def test_a_driver_that_shows_another_gpu_than_it_was_asked_for_is_not_used(open_, tmp_path) -> None:
    wrong = [{**NODES[0], "bus": 0x0A}, NODES[1] | {"bus": 0x0B, "unique": 0x51A0000000000001}]
    found = open_({"HIPSIM_DEVICES": f"{IGPU};{CARD}"}, root=str(kfd(tmp_path, wrong)))
    assert found["kind"] == "BackendUnavailable"
    assert "asked ROCm for the GPU at 0000:0b:00.0, and it shows" in found["error"]


def test_what_the_persons_environment_says_of_devices_stays(open_, tmp_path) -> None:
    environ = {"HIPSIM_DEVICES": f"{IGPU};{CARD}", "HIP_VISIBLE_DEVICES": "0"}
    found = open_(environ, root=str(kfd(tmp_path, NODES)))
    assert found["device"]["name"] == "Simulated APU"
    assert found["checks"]["chosen by you"][1] == "HIP_VISIBLE_DEVICES=0"


def test_a_name_that_fits_no_device_brings_a_list(open_) -> None:
    found = open_(device="geforce")
    assert "no HIP device 'geforce'; there are: 0 (Simulated Radeon, gfx1100" in found["error"]


def test_no_device_is_told_with_what_files_tell_of_it(open_, tmp_path) -> None:
    found = open_({"HIPSIM_DEVICES": "0"}, root=str(tmp_path))
    assert found["kind"] == "BackendUnavailable"
    assert "there is no /dev/kfd" in found["error"]


def test_an_old_runtime_without_the_new_properties_is_asked_one_by_one(open_, tmp_path) -> None:
    root = str(kfd(tmp_path, [{"bus": 3, "version": 100300, "simds": 80}]))
    old = {"ROCM_PATH": str(rocm_path(old=True)), "HIPSIM_DEVICES": "arch=gfx1030"}
    found = open_(old, root=root)
    assert found["arch"] == "gfx1030", "the kernel's word, as the old driver tells no architecture"
    assert found["device"]["name"] == "Simulated Radeon"
    assert found["graphs"]


def test_an_override_is_reported_and_blamed_where_it_changes_the_gpu(open_, tmp_path) -> None:
    root = str(kfd(tmp_path, [NODES[1]]))
    override = {"HSA_OVERRIDE_GFX_VERSION": "10.3.0"}
    ok, detail, advice = open_(override, root=root)["checks"]["override"]
    assert not ok
    assert "take gfx1100 for gfx1030" in detail
    assert advice.startswith("unset HSA_OVERRIDE_GFX_VERSION")


def test_a_gpu_that_the_kernels_are_not_for_is_left_to_vulkan(open_) -> None:
    devices = "name=Navi 10,arch=gfx1010"
    found = open_({"HIPSIM_DEVICES": devices}, asked=False)
    assert "for RDNA2 to RDNA4" in found["error"]


def test_a_limit_that_is_no_time_is_refused(open_) -> None:
    assert "give seconds" in open_(options={"limit": "nan"})["error"]


def test_the_environment_is_the_workers_own(open_, tmp_path: Path) -> None:
    open_({"HIPSIM_DEVICES": f"{IGPU};{CARD}"}, root=str(kfd(tmp_path, NODES)))
    assert "ROCR_VISIBLE_DEVICES" not in os.environ
