"""The cards of the simulated machine: as described, as hidden by ROCm's variables, or none."""

import pytest

from .stage import play

TWO = (
    "name=AMD Radeon Graphics,arch=gfx1103,pci=0000:0d:00.0,memory=64,integrated=1;"
    "name=AMD Radeon RX 7900 XTX,arch=gfx1100,memory=24576,uuid=00000000deadbeef"
)


def test_an_igpu_stands_beside_a_dgpu() -> None:
    assert play("devices.cards", {"devices": TWO}).result == [
        {
            "name": "AMD Radeon Graphics",
            "arch": "gfx1103",
            "memory": 64 << 20,
            "integrated": 1,
            "bus": 0x0D,
            "wave": 32,
            "major": 11,
            "minor": 0,
        },
        {
            "name": "AMD Radeon RX 7900 XTX",
            "arch": "gfx1100",
            "memory": 24 << 30,
            "integrated": 0,
            "bus": 4,
            "wave": 32,
            "major": 11,
            "minor": 0,
        },
    ]


@pytest.mark.parametrize(
    ("environ", "archs"),
    [
        ({"HIP_VISIBLE_DEVICES": "1"}, ["gfx1100"]),
        ({"HIP_VISIBLE_DEVICES": "1,0"}, ["gfx1100", "gfx1103"]),
        ({"ROCR_VISIBLE_DEVICES": "GPU-00000000deadbeef"}, ["gfx1100"]),
        ({"ROCR_VISIBLE_DEVICES": "1", "HIP_VISIBLE_DEVICES": "0"}, ["gfx1100"]),
        ({"HIP_VISIBLE_DEVICES": "0,7,1"}, ["gfx1103"]),
    ],
)
def test_rocms_variables_hide_and_order_cards(environ: dict[str, str], archs: list[str]) -> None:
    found = play("devices.cards", {"devices": TWO}, environ=environ)
    assert [card["arch"] for card in found.result] == archs


@pytest.mark.parametrize(
    ("settings", "environ"), [({"devices": "0"}, {}), ({}, {"HIP_VISIBLE_DEVICES": "-1"})]
)
def test_a_machine_without_a_card_says_so(
    settings: dict[str, str], environ: dict[str, str]
) -> None:
    found = play("devices.status_without_a_card", settings, environ=environ)
    assert found.result == ["hipErrorNoDevice"] * 4


def test_a_card_that_is_not_there_cannot_be_chosen() -> None:
    assert play("devices.other_device", {"devices": TWO}).result == "hipErrorInvalidDevice"


def test_each_card_has_memory_of_its_own() -> None:
    assert play("devices.memory_is_per_card", {"devices": TWO}).result == [
        "hipErrorOutOfMemory",
        "64 of 64",
        "hipSuccess",
        "24476 of 24576",
    ]


def test_code_is_for_one_kind_of_card() -> None:
    found = play("devices.code_for_the_current_card", {"devices": TWO})
    assert found.result == ["hipErrorNoBinaryForGpu", "hipSuccess"]


def test_a_card_is_found_by_its_address() -> None:
    assert play("devices.by_address", {"devices": TWO}).result == [0]


def test_an_old_runtime_has_no_r0600_symbols() -> None:
    assert play("devices.symbols").result == {"new": True, "error": ""}
    old = play("devices.symbols", {"version": "50731921"}, old=True).result
    assert not old["new"]
    assert "hipGetDevicePropertiesR0600" in old["error"]
    assert play("devices.version", {"version": "50731921"}, old=True).result == 50731921
    assert play("devices.works", old=True).result is True
