"""What --device may say, and what is taken where it says nothing."""

from __future__ import annotations

import pytest

from forge.backend import BackendConfig, BackendUnavailable, Device
from forge_vulkan.choice import choose

CARD = Device("AMD Radeon RX 7900 XT (RADV NAVI31)", "discrete", "1", "radv", "0000:03:00.0")
TWIN = Device("AMD Radeon RX 7900 XT (RADV NAVI31)", "discrete", "2", "radv", "0000:83:00.0")
CHIP = Device("AMD Radeon 780M (RADV PHOENIX)", "integrated", "0", "radv", "0000:c5:00.0")
CPU = Device("llvmpipe (LLVM 15.0.6, 256 bits)", "software", "3", "llvmpipe")
ALL = [CARD, TWIN, CHIP, CPU]


def chosen(devices: list[Device], device: str | None = None, *, asked: bool = False) -> Device:
    return devices[choose(devices, BackendConfig(device=device, asked=asked))]


@pytest.mark.parametrize("asked", [False, True])
def test_hardware_is_preferred_however_the_backend_was_chosen(asked: bool) -> None:
    assert chosen([CHIP, CPU], asked=asked) == CHIP
    assert chosen(ALL, asked=asked) == CARD


def test_a_software_device_is_never_taken_by_itself() -> None:
    with pytest.raises(BackendUnavailable, match="`-b vulkan` uses it all the same") as refused:
        chosen([CPU])
    assert "llvmpipe" in str(refused.value)


def test_naming_the_backend_or_the_device_counts_as_asking_for_software() -> None:
    assert chosen([CPU], asked=True) == CPU
    assert chosen([CPU], "llvmpipe") == CPU
    assert chosen(ALL, "3") == CPU


@pytest.mark.parametrize(
    ("typed", "device"),
    [
        ("0", CHIP),
        ("1", CARD),
        ("0000:83:00.0", TWIN),
        ("83:00.0", TWIN),
        ("C5:00.0", CHIP),
        ("780m", CHIP),
        (" LLVM ", CPU),
    ],
)
def test_a_device_is_named_by_id_by_address_or_by_part_of_its_name(
    typed: str, device: Device
) -> None:
    assert chosen(ALL, typed) == device


def test_a_number_is_an_id_before_it_is_part_of_a_name() -> None:
    other = Device("Arc A770", "discrete", "7", address="0000:04:00.0")
    seventh = Device("GPU 7", "discrete", "0", address="0000:05:00.0")
    assert chosen([seventh, other], "7") == other


def test_a_part_of_several_names_is_answered_with_what_tells_them_apart() -> None:
    with pytest.raises(BackendUnavailable, match="part of several names") as refused:
        chosen(ALL, "7900")
    assert "1 (" in str(refused.value)
    assert "0000:83:00.0" in str(refused.value)
    assert "780M" not in str(refused.value)


@pytest.mark.parametrize("typed", ["4", "", "geforce", "0000:04:00.0", "-1", " "])
def test_what_is_not_there_is_answered_with_what_is(typed: str) -> None:
    with pytest.raises(BackendUnavailable, match="there is no Vulkan device") as refused:
        chosen(ALL, typed)
    assert all(f"{device.id} ({device.name}" in str(refused.value) for device in ALL)


def test_a_card_that_two_drivers_list_is_opened_with_the_first_of_them() -> None:
    other = Device("AMDVLK RX 7900 XT", "discrete", "4", "amdvlk", "0000:03:00.0")
    assert chosen([CARD, other], "03:00.0") == CARD
