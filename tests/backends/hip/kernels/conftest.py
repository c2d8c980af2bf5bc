"""Devices of the simulated driver, one for each target."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest
from tests.backends.hip.kernels.device import Device, absent
from tests.backends.hip.kernels.stage import HipDesk, HipStage

ARCH = os.environ.get("FORGE_TEST_HIP_ARCH", "gfx1100")
_DEVICES: dict[str, Device] = {}


def device_of(arch: str) -> Device:
    """One for the whole run: it keeps what it has compiled. Skips where there is no HIP device."""
    if why := absent():
        pytest.skip(why)
    return _DEVICES.setdefault(arch, Device(arch))


def _arch(request: pytest.FixtureRequest) -> str:
    """A parameter names a target, or what a Vulkan device would do without."""
    named = str(getattr(request, "param", ""))
    return named if named.startswith("gfx") else ARCH


@pytest.fixture
def stage(request: pytest.FixtureRequest) -> Iterator[HipStage]:
    made = HipStage(device_of(_arch(request)))
    yield made
    made.clear()


@pytest.fixture
def desk(request: pytest.FixtureRequest) -> Iterator[HipDesk]:
    made = HipDesk(device_of(_arch(request)))
    yield made
    made.clear()


@pytest.fixture
def open_desk() -> Iterator[Callable[[str], HipDesk]]:
    """A desk; one without dot products is of a target that has none."""
    made: list[HipDesk] = []

    def opened(without: str) -> HipDesk:
        made.append(HipDesk(device_of("gfx1010" if "dot" in without else ARCH)))
        return made[-1]

    yield opened
    for each in made:
        each.clear()
