"""What a person sees of the HIP backend in the list of backends."""

from __future__ import annotations

import json

import pytest
from tests.conftest import Forge

BOTH = {"FORGE_PLUGINS": "cpu,hip"}


def listed(forge: Forge, env: dict[str, str]) -> dict:
    done = forge("backends", "--json", env={**BOTH, **env})
    (found,) = [each for each in json.loads(done.stdout) if each["backend"] == "hip"]
    return found


def test_the_list_has_the_device_and_says_what_its_driver_and_its_kernels_can_do(
    forge: Forge, simulated: dict[str, str]
) -> None:
    found = listed(forge, simulated)
    assert found["status"] == "ready"
    said = {check["name"]: check["detail"] for check in found["checks"] if check["ok"]}
    assert "gfx1100" in said["device"]
    assert "captured graph" in said["graphs"]
    assert {"dot", "coopmat"} <= {*said["features"].split(", ")}


def test_what_is_switched_off_is_not_tried(forge: Forge, simulated: dict[str, str]) -> None:
    found = listed(forge, {**simulated, "FORGE_HIP_WITHOUT": "graphs,coopmat"})
    said = {check["name"]: check["detail"] for check in found["checks"]}
    assert found["status"] == "ready"
    assert "graphs" not in said
    assert "coopmat" not in said["features"]


@pytest.mark.parametrize("hidden", ["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"])
def test_without_a_gpu_the_list_says_so_and_what_to_look_at(
    forge: Forge, simulated: dict[str, str], hidden: str
) -> None:
    found = listed(forge, {**simulated, hidden: "-1"})
    assert found["status"] == "unavailable"
    (check,) = found["checks"]
    assert "no AMD GPU" in check["detail"]
    assert len(f"{check['detail']} {check['advice']}".split()) > 10
