"""Devices of the simulated driver, one for each target."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator

import pytest
from tests.backends.hip.kernels.device import Device, absent
from tests.backends.hip.kernels.stage import HipDesk, HipStage
from tests.hipsim import build

ARCH = os.environ.get("FORGE_TEST_HIP_ARCH", "gfx1100")
"""The target whose kernels this run compiles: a process has devices of one."""
ORDER = os.environ.get("FORGE_TEST_HIP_ORDER", "forward")
"""Of a work group's threads: forward, reverse or random."""
_DEVICES: dict[str, Device] = {}


@pytest.fixture(scope="session", autouse=True)
def driver() -> None:
    """The simulated driver, unless ROCM_PATH is that of another one and no target is asked for."""
    given = "ROCM_PATH" in os.environ and "FORGE_TEST_HIP_ARCH" not in os.environ
    if given or not shutil.which("g++"):
        return
    with pytest.MonkeyPatch.context() as patch:  # read once, and no other test shall see it
        settings = build.environment(devices=f"arch={ARCH}", order=ORDER, storm=100000)
        for name, value in settings.items():
            patch.setenv(name, value)
        absent()


def device_of(arch: str) -> Device:
    """One for the whole run: it keeps what it has compiled. Skips where there is no HIP device."""
    if why := absent():
        pytest.skip(why)
    return _DEVICES.setdefault(arch, Device(arch))


@pytest.fixture
def stage() -> Iterator[HipStage]:
    made = HipStage(device_of(ARCH))
    yield made
    made.clear()


@pytest.fixture
def desk() -> Iterator[HipDesk]:
    made = HipDesk(device_of(ARCH))
    yield made
    made.clear()


@pytest.fixture
def open_desk() -> Iterator[Callable[[str], HipDesk]]:
    """Desks; what a target has was chosen when its kernels were compiled."""
    made: list[HipDesk] = []

    def opened(_without: str = "") -> HipDesk:
        made.append(HipDesk(device_of(ARCH)))
        return made[-1]

    yield opened
    for each in made:
        each.clear()
